"""The text part of a Gemma 3 that reads images, too. A base GGUF is made of it alone.

Its `config.json` says only what differs from the defaults of transformers, so they are here. What else a checkpoint
holds, the image encoder and its projection, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_runtime.convert.hf_checkpoint import StoredTensor

_DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 262_208,
    "hidden_size": 2_304,
    "intermediate_size": 9_216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-6,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4_096,
    "tie_word_embeddings": True,
}

# As transformers has named them, earlier and since version 5.
_TEXT = {"language_model.": "", "model.language_model.": "model."}
_IMAGES = tuple(f"{place}{part}." for place in ("", "model.") for part in ("vision_tower", "multi_modal_projector"))


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of the text part; of a model of text alone, the configuration itself."""
    text = config.get("text_config")
    if config.get("model_type") != "gemma3" or not isinstance(text, dict):
        return config
    tokens = {key: value for key, value in config.items() if key.endswith("_token_id")}
    said = {key: value for key, value in text.items() if value is not None}
    return {**_DEFAULTS, **tokens, **said, "model_type": "gemma3_text"}


def text_tensors(stored: Mapping[str, StoredTensor]) -> Mapping[str, StoredTensor]:
    """The tensors of the text part, by the names that they have in a model of text alone."""
    found = {}
    for name, tensor in stored.items():
        if not name.startswith(_IMAGES):
            beginning = next((each for each in _TEXT if name.startswith(each)), "")
            found[_TEXT.get(beginning, "") + name.removeprefix(beginning)] = tensor
    return found
