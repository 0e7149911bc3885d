"""Tokenizers: from the files of a Hugging Face directory to the vocabulary that llama.cpp reads from a GGUF file.

Supported, because llama.cpp reproduces them token by token (the tests compare):
- byte-level BPE (`tokenizer.json`) with the pre-tokenizers of GPT-2, Llama 3, Qwen 2 / Qwen 3 and SmolLM;
- sentencepiece BPE, from `tokenizer.model` or from a `tokenizer.json` with byte fallback
  (`sentencepiece_vocabulary.py`).

Everything else raises `ConversionError`: a model with a guessed pre-tokenizer loads, and answers worse.

Special tokens become CONTROL tokens. llama.cpp recognizes them in chat templates, and not in a user's text that it is
asked not to parse. Two things have no counterpart in GGUF: `lstrip` / `rstrip` of added tokens are dropped, and NFC
normalization (Qwen) is left to callers, whose text is nearly always NFC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from gguf.constants import Keys, TokenType

from edge_runtime.convert.hf_checkpoint import load_json
from edge_runtime.convert.sentencepiece_vocabulary import SPACE, Pieces, from_tokenizer_json, read_model
from edge_runtime.errors import ConversionError
from loragen.contract.gguf_header import Value, boolean, float32s, int32s, text, texts, uint32
from loragen.contract.pre_tokenizers import GPT_2, LLAMA_3, SMOLLM, SPLITS

_log = structlog.get_logger(__name__)

# Of tokens that are matched as a whole and never made by merging.
_LOWEST_SCORE = -1e6

# For base models, which have none: the layout in which their generators are trained
# (`cloud_service.generator.chat_format`).
PLAIN_TEMPLATE = (
    "{% for m in messages %}{{ m['content'] + "
    "('\\n\\n' if m['role'] == 'system' else '\\n' if m['role'] == 'user' else eos_token) }}{% endfor %}"
)

# Special tokens: the key in the GGUF header, and the name in Hugging Face's configurations.
_ROLES = {
    Keys.Tokenizer.BOS_ID: "bos",
    Keys.Tokenizer.EOS_ID: "eos",
    Keys.Tokenizer.PAD_ID: "pad",
    Keys.Tokenizer.UNK_ID: "unk",
}
_SPLIT_NAMES = {split: name for name, split in SPLITS.items()}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the `tokenizer.*` metadata of a GGUF file say.

    Attributes:
        model: `gpt2` (byte-level BPE) or `llama` (sentencepiece BPE).
        pre: llama.cpp's name of the pre-tokenizer.
        tokens: Token texts by id, one for each row of the embedding.
        types: `gguf.TokenType` of each token.
        scores: Sentencepiece scores by id; None for byte-level BPE.
        merges: Merge rules in order of rank; None for sentencepiece.
        add_space_prefix: Whether a space goes before the text; None leaves it to llama.cpp.
        special: Ids of the special tokens that there are, by their key in the GGUF header.
        add_bos: Whether the tokenizer itself puts `bos` first.
        chat_template: Jinja text.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[TokenType, ...]
    scores: tuple[float, ...] | None = None
    merges: tuple[str, ...] | None = None
    add_space_prefix: bool | None = None
    special: Mapping[str, int] | None = None
    add_bos: bool = False
    chat_template: str = PLAIN_TEMPLATE

    def metadata(self) -> dict[str, Value]:
        """The `tokenizer.*` values of a GGUF header."""
        values = {
            Keys.Tokenizer.MODEL: text(self.model),
            Keys.Tokenizer.PRE: text(self.pre),
            Keys.Tokenizer.LIST: texts(self.tokens),
            Keys.Tokenizer.TOKEN_TYPE: int32s(self.types),
        }
        if self.scores is not None:
            values[Keys.Tokenizer.SCORES] = float32s(self.scores)
        if self.merges is not None:
            values[Keys.Tokenizer.MERGES] = texts(self.merges)
        values |= {key: uint32(token) for key, token in (self.special or {}).items()}
        values[Keys.Tokenizer.ADD_BOS] = boolean(self.add_bos)
        values[Keys.Tokenizer.ADD_EOS] = boolean(False)
        if self.add_space_prefix is not None:
            values[Keys.Tokenizer.ADD_PREFIX] = boolean(self.add_space_prefix)
        values[Keys.Tokenizer.CHAT_TEMPLATE] = text(self.chat_template)
        return values


def load_vocabulary(directory: Path, config: Mapping[str, Any], size: int) -> Vocabulary:
    """Read the tokenizer of a Hugging Face directory.

    Args:
        directory: Holds `tokenizer.json` or `tokenizer.model`, and optionally `tokenizer_config.json`,
            `chat_template.jinja`, `generation_config.json`.
        config: The model's `config.json`.
        size: Rows of the embedding; ids without a token are filled with unused ones.

    Raises:
        ConversionError: The files are missing, malformed, or a kind of tokenizer that llama.cpp would not reproduce.
    """
    try:
        return _load(directory, config, size)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as e:
        raise ConversionError(f"the tokenizer files in {directory.name} are malformed: {e!r}") from e


def _load(directory: Path, config: Mapping[str, Any], size: int) -> Vocabulary:
    tokenizer_config = _optional_json(directory / "tokenizer_config.json")
    tokenizer = _optional_json(directory / "tokenizer.json")
    model_path = directory / "tokenizer.model"
    # Tokens added to those of the model itself stand in either file.
    added = tokenizer.get("added_tokens") or [
        {"id": int(token), **entry} for token, entry in (tokenizer_config.get("added_tokens_decoder") or {}).items()
    ]
    added = [entry for entry in added if _has_row(entry, size)]
    if tokenizer and not (tokenizer.get("model") or {}).get("byte_fallback"):
        bare = _byte_level(tokenizer, added, size)
    elif model_path.exists():
        bare = _sentencepiece(read_model(model_path), added, size)
    elif tokenizer:
        whole = [entry["content"] for entry in added]
        bare = _sentencepiece(from_tokenizer_json(tokenizer, merge_rules(tokenizer["model"]), whole), added, size)
    else:
        raise ConversionError(f"neither tokenizer.json nor tokenizer.model in {directory.name}")
    special = _special_ids(bare.tokens, tokenizer_config, config, _optional_json(directory / "generation_config.json"))
    add_bos = _adds_bos(tokenizer, tokenizer_config, bare.tokens, special.get(Keys.Tokenizer.BOS_ID))
    plain = ("{{ bos_token }}" if add_bos else "") + PLAIN_TEMPLATE
    template = _chat_template(directory, tokenizer_config) or plain
    return replace(bare, special=special, add_bos=add_bos, chat_template=template)


def _has_row(entry: Mapping[str, Any], size: int) -> bool:
    """Whether an added token has a row in the embedding: Gemma 3's lists one of its multimodal relatives."""
    if entry["id"] < size:
        return True
    _log.warning("token_left_out", token=entry["content"], id=entry["id"], embedding_rows=size)
    return False


def _optional_json(path: Path) -> dict[str, Any]:
    return load_json(path) if path.exists() else {}


def _sentencepiece(pieces: Pieces, added: Sequence[Mapping[str, Any]], size: int) -> Vocabulary:
    tokens, types = _fill(pieces.entries, added, size)
    # llama.cpp looks for added tokens before it replaces spaces.
    tokens = tuple(
        token.replace(SPACE, " ") if kind is TokenType.USER_DEFINED else token
        for token, kind in zip(tokens, types, strict=True)
    )
    scores = tuple(pieces.scores.get(token, _LOWEST_SCORE) for token in range(size))
    return Vocabulary("llama", "default", tokens, types, scores, add_space_prefix=pieces.add_space_prefix)


def _byte_level(tokenizer: Mapping[str, Any], added: Sequence[Mapping[str, Any]], size: int) -> Vocabulary:
    model = tokenizer.get("model") or {}
    pre = byte_level_name(tokenizer)
    # Llama 3 looks whole words up before it merges, and llama.cpp ties that to the pre-tokenizer's name.
    if bool(model.get("ignore_merges")) != (pre == LLAMA_3):
        raise ConversionError(f"ignore_merges = {model.get('ignore_merges')} does not go with pre-tokenizer {pre!r}")
    vocab = model.get("vocab") or {}
    tokens, types = _fill([(token, content, TokenType.NORMAL) for content, token in vocab.items()], added, size)
    return Vocabulary("gpt2", pre, tokens, types, merges=tuple(merge_rules(model)))


def byte_level_name(tokenizer: Mapping[str, Any]) -> str:
    """llama.cpp's name for the pre-tokenizer of a byte-level BPE `tokenizer.json`.

    Raises:
        ConversionError: llama.cpp has none that splits text in the same way, as far as this code knows.
    """
    model = tokenizer.get("model") or {}
    normalizer = (tokenizer.get("normalizer") or {}).get("type")
    if normalizer not in (None, "NFC"):
        raise _unsupported(f"normalizer {normalizer!r}")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(option):
            raise _unsupported(f"BPE option {option} = {model[option]!r}")
    outer = tokenizer.get("pre_tokenizer") or {}
    steps = outer.get("pretokenizers") or [] if outer.get("type") == "Sequence" else [outer]
    if model.get("type") != "BPE" or not steps or steps[-1].get("type") != "ByteLevel":
        raise _unsupported(f"{model.get('type')} model with pre-tokenizer {outer.get('type')!r}")
    *before, byte_level = steps
    if byte_level.get("add_prefix_space"):
        raise _unsupported("ByteLevel pre-tokenizer with add_prefix_space")
    with_regex = byte_level.get("use_regex", True)
    if not before and with_regex:
        return GPT_2
    if len(before) == 1 and before[0].get("type") == "Digits" and before[0].get("individual_digits") and with_regex:
        return SMOLLM
    if len(before) == 1 and before[0].get("type") == "Split" and not with_regex:
        split = before[0]
        name = _SPLIT_NAMES.get((split.get("pattern") or {}).get("Regex", ""))
        if name and split.get("behavior") == "Isolated" and not split.get("invert"):
            return name
    raise _unsupported(f"pre-tokenizer {outer!r}")


def _unsupported(what: str) -> ConversionError:
    return ConversionError(
        f"this tokenizer is not supported: {what}",
        hint="supported: byte-level BPE as in GPT-2, Llama 3, Qwen 2 and SmolLM; sentencepiece BPE with byte fallback",
    )


def merge_rules(model: Mapping[str, Any]) -> list[str]:
    """Merge rules of a BPE model as `left right`, in order of rank; files write them as strings or as pairs.

    Raises:
        ConversionError: A rule is neither.
    """
    rules = []
    for rule in model.get("merges") or []:
        pair = rule.split(" ") if isinstance(rule, str) else rule
        if len(pair) != 2 or not all(isinstance(part, str) and part and " " not in part for part in pair):
            raise ConversionError(f"malformed merge rule {rule!r} in tokenizer.json")
        rules.append(f"{pair[0]} {pair[1]}")
    return rules


def _fill(
    entries: Sequence[tuple[int, str, TokenType]], added: Sequence[Mapping[str, Any]], size: int
) -> tuple[tuple[str, ...], tuple[TokenType, ...]]:
    """Order tokens by id, mark the added ones, and fill the gaps with unused tokens.

    Args:
        entries: Id, text and type of the model's own tokens.
        added: `added_tokens` of `tokenizer.json`: `id`, `content`, `special`.
        size: Rows of the embedding.

    Raises:
        ConversionError: An id is outside the embedding or used twice.
    """
    tokens: list[str | None] = [None] * size
    types = [TokenType.UNUSED] * size
    extra = [
        (entry["id"], entry["content"], TokenType.CONTROL if entry.get("special") else TokenType.USER_DEFINED)
        for entry in added
    ]
    for token, content, kind in [*entries, *extra]:
        if not 0 <= token < size:
            raise ConversionError(f"token {content!r} has id {token}, but the embedding has {size} rows")
        if tokens[token] not in (None, content):
            raise ConversionError(f"id {token} stands for both {tokens[token]!r} and {content!r}")
        # Sentencepiece's unknown token stays that, also where it is listed as special.
        if types[token] is not TokenType.UNKNOWN:
            types[token] = kind
        tokens[token] = content
    return tuple(t if t is not None else f"[unused {i}]" for i, t in enumerate(tokens)), tuple(types)


def _special_ids(
    tokens: Sequence[str],
    tokenizer_config: Mapping[str, Any],
    config: Mapping[str, Any],
    generation_config: Mapping[str, Any],
) -> dict[str, int]:
    ids = {content: token for token, content in enumerate(tokens)}
    found: dict[str, int] = {}
    for key, name in _ROLES.items():
        entry = tokenizer_config.get(f"{name}_token")
        content = entry.get("content") if isinstance(entry, dict) else entry
        fallback = config.get(f"{name}_token_id")
        if isinstance(content, str) and content in ids:
            found[key] = ids[content]
        elif isinstance(fallback, int) and 0 <= fallback < len(tokens):
            found[key] = fallback
    # Chat models list several ends of generation; llama.cpp has a second slot for the end of a turn.
    ends = generation_config.get("eos_token_id", config.get("eos_token_id"))
    ends = [end for end in (ends if isinstance(ends, list) else [ends]) if isinstance(end, int) and end < len(tokens)]
    if Keys.Tokenizer.EOS_ID not in found and ends:
        found[Keys.Tokenizer.EOS_ID] = ends[0]
    others = [end for end in ends if end != found.get(Keys.Tokenizer.EOS_ID)]
    if others:
        found[Keys.Tokenizer.EOT_ID] = others[-1]
    return found


def _adds_bos(
    tokenizer: Mapping[str, Any], tokenizer_config: Mapping[str, Any], tokens: Sequence[str], bos: int | None
) -> bool:
    explicit = tokenizer_config.get("add_bos_token")
    if isinstance(explicit, bool):
        return explicit and bos is not None
    if not tokenizer:
        return bos is not None
    processor = tokenizer.get("post_processor") or {}
    for step in processor.get("processors") or [processor]:
        first = (step.get("single") or [{}])[0] if step.get("type") == "TemplateProcessing" else {}
        name = (first.get("SpecialToken") or {}).get("id")
        if name is not None and bos is not None and name == tokens[bos]:
            return True
    return False


def _chat_template(directory: Path, tokenizer_config: Mapping[str, Any]) -> str | None:
    path = directory / "chat_template.jinja"
    if path.exists():
        return path.read_text(encoding="utf-8")
    template = tokenizer_config.get("chat_template")
    if isinstance(template, list):
        template = next((t.get("template") for t in template if t.get("name") == "default"), None)
    return template if isinstance(template, str) else None
