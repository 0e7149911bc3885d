"""From a Hugging Face model to a GGUF master, and from master and bundle to a merged, quantized model."""

from edge_runtime.merge.convert import convert_model
from edge_runtime.merge.merger import MIN_SURVIVAL, MergeReport, merge, quantize_base
from edge_runtime.merge.quantize import QUANTIZATIONS

__all__ = ["MIN_SURVIVAL", "QUANTIZATIONS", "MergeReport", "convert_model", "merge", "quantize_base"]
