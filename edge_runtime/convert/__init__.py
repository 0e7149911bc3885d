"""From a Hugging Face model directory to a base GGUF."""

from edge_runtime.convert.converter import convert_model
from edge_runtime.gguf.quantization import FloatType

__all__ = ["FloatType", "convert_model"]
