"""From a Hugging Face model directory to a base GGUF."""

from edge_runtime.convert.converter import convert_model

__all__ = ["convert_model"]
