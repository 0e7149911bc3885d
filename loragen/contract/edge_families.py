"""Families of edge models: each by Hugging Face's `model_type`, with llama.cpp's name for the architecture.

All have what a LoRA acts on: in every decoder layer gate, up and down projections without bias, which generators
adapt, and projections for queries, keys, values and output, which a user's own LoRA may adapt too. The
cloud service takes a model of these families for its generators, and the edge runtime converts one to a base GGUF.

A new family is a line here, a function in `edge_runtime.convert.architectures`, and a tiny model in the tests of both.
"""

from collections.abc import Mapping
from types import MappingProxyType

EDGE_FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "llama": "llama",
        "mistral": "llama",
        "smollm3": "smollm3",
        "granite": "granite",
        "olmo2": "olmo2",
        "qwen2": "qwen2",
        "qwen3": "qwen3",
        "gemma2": "gemma2",
        "gemma3_text": "gemma3",
    }
)
"""`model_type` in a model's `config.json` -> `general.architecture` in its GGUF."""
