"""From a Hugging Face model directory to a base GGUF."""

from edge_runtime.convert.converter import FloatType, convert_model

__all__ = ["FloatType", "convert_model"]
