"""Names: of projections, tensors in PEFT and GGUF, specializations, generators, models and devices; and digests.

Names that people choose become parts of URLs, file names and HTTP headers, so they must be of a small alphabet.
This module does not know what a name refers to.
"""

import re

from loragen.contract.errors import FormatError

PROJECTIONS = ("gate", "up", "down")
"""The three projections of a feed-forward layer, in the order of every format and loop. Generators adapt them."""

ATTENTION = ("q", "k", "v", "o")
"""The four projections of an attention layer: queries, keys, values, output. No generator adapts them, a LoRA may."""

LINEARS = (*PROJECTIONS, *ATTENTION)
"""Every linear layer of a decoder layer that a LoRA may act on, in the order that every loop uses."""

SIDES = ("A", "B")

BASE_NAME = "base"
"""Name under which every device serves the model without a LoRA; nothing can be published under it."""

BASE_MODEL_ID = "loragen.edge_model.id"
"""GGUF metadata key of a converted base GGUF: the id of the edge model that it was converted from."""

BASE_MODEL_DIGEST = "loragen.edge_model.digest"
"""GGUF metadata key of a converted base GGUF: the digest (`loragen.contract.digest.model_digest`) of that model."""

BUNDLE_ID = "loragen.bundle.id"
"""GGUF metadata key of a merged model: the bundle that is in it. A file that has it is no base GGUF."""

ANSWER_CONTRACT = "loragen.answer"
"""GGUF metadata key of a merged model and of an adapter: the answer contract, as `encode_answer` writes it."""

RESIDUAL_PROMPT = "loragen.residual_prompt"
"""GGUF metadata key of a merged model and of an adapter: the residual prompt; empty or absent for none."""

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$"
"""Regular expression of `verify_name`, which refuses `..` too."""

DEVICE_NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?$"
"""Regular expression of `verify_device_name`, which refuses `..` too."""

DIGEST_PATTERN = r"^[0-9a-f]{64}$"
"""Regular expression of `verify_digest`."""

_NAME = re.compile(NAME_PATTERN)
_DEVICE_NAME = re.compile(DEVICE_NAME_PATTERN)
_MODEL_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_MODEL_ID = re.compile(rf"{_MODEL_PART}(?:/{_MODEL_PART})?")
_DIGEST = re.compile(DIGEST_PATTERN)


def module_name(layer: int, projection: str) -> str:
    """Name of a projection in transformers, for a decoder of the Llama, Qwen and Gemma families."""
    return f"model.layers.{layer}.{'self_attn' if projection in ATTENTION else 'mlp'}.{projection}_proj"


def peft_name(layer: int, projection: str, side: str) -> str:
    """Name of a LoRA factor in a bundle, as PEFT writes it."""
    return f"base_model.model.{module_name(layer, projection)}.lora_{side}.weight"


def gguf_name(layer: int, projection: str) -> str:
    """Name of a projection's weight in a GGUF model."""
    if projection in ATTENTION:
        return f"blk.{layer}.attn_{'output' if projection == 'o' else projection}.weight"
    return f"blk.{layer}.ffn_{projection}.weight"


def bank_name(layer: int, projection: str, side: str) -> str:
    """Name of the factors of all experts of one projection in a bank, or of the choice head (projection `choice`)."""
    return f"layers.{layer}.{projection}.{side}"


def verify_name(name: str) -> str:
    """Return `name` when it may name a specialization, a channel or a generator.

    Raises:
        FormatError: Not 1 to 64 of `a-z 0-9 . _ -` with a letter or digit at both ends, or it contains `..`.
    """
    return _matching(_NAME, 64, name)


def verify_device_name(name: str) -> str:
    """Return `name` when it may name a device, as the names of Kubernetes nodes and of hosts in lower case may.

    Raises:
        FormatError: As for `verify_name`, but up to 253 characters, the longest DNS name.
    """
    return _matching(_DEVICE_NAME, 253, name)


def verify_model_id(model_id: str) -> str:
    """Return `model_id` when it has the form of a Hugging Face id, `name` or `namespace/name`.

    Raises:
        FormatError: Another character, more than one slash, an empty or over-long part, or `..`.
    """
    if _MODEL_ID.fullmatch(model_id) is None or ".." in model_id:
        raise FormatError(f"expected a model id like 'name' or 'namespace/name', found {_shown(model_id)}")
    return model_id


def verify_digest(text: str) -> str:
    """Return `text` when it is a sha256 in 64 lower-case hexadecimal digits.

    Raises:
        FormatError: It is not.
    """
    if _DIGEST.fullmatch(text) is None:
        raise FormatError(f"expected a sha256 of 64 lower-case hexadecimal digits, found {_shown(text)}")
    return text


def _matching(pattern: re.Pattern[str], longest: int, name: str) -> str:
    if pattern.fullmatch(name) is None or ".." in name:
        raise FormatError(
            f"expected a name of 1 to {longest} characters a-z 0-9 . _ -, found {_shown(name)}",
            hint="start and end with a letter or digit, in lower case, without '..'",
        )
    return name


def _shown(text: str) -> str:
    # ascii() keeps control characters of hostile names out of logs and terminals.
    shown = ascii(text[:81])
    return shown if len(shown) <= 82 else shown[:80] + "..."
