"""Sentencepiece BPE tokenizers, from `tokenizer.model` or from a `tokenizer.json` that was made from one.

llama.cpp merges the two neighbours whose union has the highest score. `tokenizer.model` holds the scores. A
`tokenizer.json` holds merge rules instead. They say the same only if they name every pair whose union is a token, best
first. This module checks that.

One difference remains: where the tokenizer puts a space before the very first word only, llama.cpp also puts one before
the word that follows a special token.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf.constants import TokenType

from edge_runtime.errors import ConversionError

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"

MAX_MODEL_BYTES = 64 * 2**20
_BPE = 2


@dataclass(frozen=True, slots=True)
class Pieces:
    """The vocabulary of a sentencepiece model.

    Attributes:
        entries: Id, text and type of each token.
        scores: Score of each token, by id.
        add_space_prefix: Whether a space goes before the text.
    """

    entries: tuple[tuple[int, str, TokenType], ...]
    scores: Mapping[int, float]
    add_space_prefix: bool


def read_model(path: Path) -> Pieces:
    """Read a `tokenizer.model`.

    Raises:
        ConversionError: It is malformed, no BPE model with byte fallback, or normalizes text.
    """
    try:
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise ConversionError(f"{path.name} is longer than {MAX_MODEL_BYTES} bytes")
        data = path.read_bytes()
    except OSError as e:
        raise ConversionError(f"cannot read {path.name}: {e.strerror or e}") from e
    # protobuf takes memory, and a device that converts nothing does without.
    from edge_runtime.convert.sentencepiece_model import DecodeError, ModelProto

    try:
        model = ModelProto.FromString(data)
        entries = tuple(
            (token, piece.piece.decode("utf-8"), TokenType(piece.type)) for token, piece in enumerate(model.pieces)
        )
    except (DecodeError, ValueError) as e:
        raise ConversionError(f"{path.name} is not a sentencepiece model: {e}") from e
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    if trainer.model_type != _BPE or not trainer.byte_fallback:
        raise ConversionError("the sentencepiece model is no BPE model with byte fallback")
    if normalizer.precompiled_charsmap or normalizer.remove_extra_whitespaces or not normalizer.escape_whitespaces:
        raise ConversionError("the sentencepiece model normalizes text in a way that llama.cpp does not")
    scores = {token: piece.score for token, piece in enumerate(model.pieces)}
    return Pieces(entries, scores, normalizer.add_dummy_prefix)


def from_tokenizer_json(tokenizer: Mapping[str, Any], rules: Sequence[str], whole: Collection[str]) -> Pieces:
    """Recover a sentencepiece vocabulary from a `tokenizer.json` with byte fallback.

    Args:
        tokenizer: The parsed file.
        rules: Its merge rules, `left right`, best first.
        whole: Added tokens, which are matched as a whole and need no rules.

    Raises:
        ConversionError: It is another kind of tokenizer, or its rules are not those of a sentencepiece model.
    """
    model = tokenizer.get("model") or {}
    vocab: Mapping[str, int] = model.get("vocab") or {}
    prefix = _space_prefix(tokenizer)
    missing = [byte for byte in range(256) if f"<0x{byte:02X}>" not in vocab]
    if missing:
        raise ConversionError(f"byte fallback without the token <0x{missing[0]:02X}>")
    rank: dict[str, int] = {}
    pairs = set()
    last = ""
    for number, rule in enumerate(rules):
        left, right = rule.split(" ")
        union = left + right
        if union != last and union in rank:
            raise _not_sentencepiece(f"the rules that make {union!r} do not stand together")
        rank.setdefault(union, number)
        pairs.add((left, right))
        last = union
    for piece in vocab.keys() - set(whole):
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocab and right in vocab and (left, right) not in pairs and not _is_byte(piece):
                raise _not_sentencepiece(f"no rule joins {left!r} and {right!r}")
    unknown = model.get("unk_token")
    entries = tuple((token, piece, _kind(piece, unknown)) for piece, token in vocab.items())
    scores = {token: -float(rank.get(piece, 0)) for piece, token in vocab.items()}
    return Pieces(entries, scores, prefix)


def _space_prefix(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a space goes before the text; a normalizer that does more than replace spaces by U+2581 is refused."""
    prepends = False
    outer = tokenizer.get("normalizer") or {}
    for step in outer.get("normalizers") or [] if outer.get("type") == "Sequence" else [outer] if outer else []:
        if step.get("type") == "Prepend" and step.get("prepend") == SPACE:
            prepends = True
        elif not (
            step.get("type") == "Replace" and step.get("pattern") == {"String": " "} and step.get("content") == SPACE
        ):
            raise ConversionError(f"this tokenizer is not supported: normalizer {step!r}")
    before = tokenizer.get("pre_tokenizer")
    if before is None:
        return prepends
    if before.get("type") == "Metaspace" and before.get("replacement") == SPACE and not before.get("split", True):
        return prepends or before.get("prepend_scheme") in ("always", "first")
    # Gemma: cuts at spaces, which the normalizer has already replaced.
    if before.get("type") == "Split" and before.get("pattern") == {"String": " "} and outer:
        return prepends
    raise ConversionError(f"this tokenizer is not supported: pre-tokenizer {before!r} with byte fallback")


def _kind(piece: str, unknown: str | None) -> TokenType:
    if piece == unknown:
        return TokenType.UNKNOWN
    return TokenType.BYTE if _is_byte(piece) else TokenType.NORMAL


def _is_byte(piece: str) -> bool:
    return len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">")


def _not_sentencepiece(reason: str) -> ConversionError:
    return ConversionError(
        f"tokenizer.json has byte fallback, but is not a sentencepiece model: {reason}",
        hint="put the model's tokenizer.model beside it, if there is one",
    )
