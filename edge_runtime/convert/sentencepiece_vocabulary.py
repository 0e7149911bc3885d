"""Sentencepiece BPE tokenizers, from `tokenizer.model` or from a `tokenizer.json` that was made from one.

llama.cpp merges the neighbours whose union has the highest score. `tokenizer.model` holds the scores. A
`tokenizer.json` holds merge rules instead; they say the same only if they name every pair whose union is a token, best
first, and that is checked here rather than assumed.

The protobuf reader knows the fields that matter and skips the rest, so that the device needs no sentencepiece library.

One difference remains: where the tokenizer puts a space before the very first word only, llama.cpp also puts one before
the word that follows a special token.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf.constants import TokenType

from edge_runtime.errors import ConversionError

SPACE = "\N{LOWER ONE EIGHTH BLOCK}"

MAX_MODEL_BYTES = 64 * 2**20
_BPE = 2
_KNOWN_TYPES = {int(kind) for kind in TokenType}


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
    try:
        return _parse_model(data)
    except (ValueError, IndexError, struct.error, AttributeError, TypeError) as e:
        raise ConversionError(f"{path.name} is not a sentencepiece model: {e}") from e


def _parse_model(data: bytes) -> Pieces:
    entries: list[tuple[int, str, TokenType]] = []
    scores: dict[int, float] = {}
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    for field, value in _fields(data):
        if field == 1:
            piece = dict(_fields(value))
            kind = piece.get(3, int(TokenType.NORMAL))
            if kind not in _KNOWN_TYPES:
                raise ValueError(f"unknown piece type {kind}")
            scores[len(entries)] = struct.unpack("<f", piece.get(2, bytes(4)))[0]
            entries.append((len(entries), piece[1].decode("utf-8"), TokenType(kind)))
        elif field == 2:
            trainer = dict(_fields(value))
        elif field == 3:
            normalizer = dict(_fields(value))
    if trainer.get(3) != _BPE or not trainer.get(35):
        raise ConversionError("the sentencepiece model is no BPE model with byte fallback")
    if normalizer.get(2) or normalizer.get(4, 1) or not normalizer.get(5, 1):
        raise ConversionError("the sentencepiece model normalizes text in a way that llama.cpp does not")
    return Pieces(tuple(entries), scores, bool(normalizer.get(3, 1)))


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Fields of one protobuf message: number and value (int, or bytes for the other wire types)."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        wire = key & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if wire == 2:
            size, position = _varint(data, position)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if position + size > len(data):
            raise ValueError("it is truncated")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is too long")


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
    """Whether a space goes before the text; refuses anything beyond spaces becoming U+2581."""
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
