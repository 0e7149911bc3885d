"""From a base GGUF and a bundle to a merged, quantized model."""

from edge_runtime.merge.merger import MIN_RETAINED_DELTA, MergeReport, merge, quantize_base

__all__ = ["MIN_RETAINED_DELTA", "MergeReport", "merge", "quantize_base"]
