"""From a Hugging Face model to a GGUF master, and from master and bundle to a merged, quantized model."""

from edge_runtime.merge.convert import convert_model

__all__ = ["convert_model"]
