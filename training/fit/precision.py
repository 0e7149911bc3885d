"""Rule: what a device computes matrix products in while training: bfloat16, where it has instructions for it.

A CPU without them can do it too, some 80 times slower than in float32 (docs/experiments.md).
"""

import torch


def product_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU and on a CPU that says it has it (AVX512-BF16, AMX, Arm's BF16), else float32."""
    if device.type != "cpu":
        return torch.bfloat16
    able = any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))
    return torch.bfloat16 if able else torch.float32
