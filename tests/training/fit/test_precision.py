"""What training computes in."""

import pytest
import torch

from training.fit.generator import GeneratorSettings
from training.fit.precision import product_dtype


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"neon": True, "bf16": True}, torch.bfloat16),
        ({}, torch.float32),
    ],
)
def test_cpu_without_instructions_for_bfloat16_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: torch.dtype
) -> None:
    """Elsewhere a product in bfloat16 takes about a hundred times as long as one in float32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert product_dtype(torch.device("cpu")) == expected
    assert GeneratorSettings(steps=1).dtype_on(torch.device("cpu")) == expected
    assert GeneratorSettings(steps=1, precision="float32").dtype_on(torch.device("cpu")) == torch.float32


def test_accelerator_computes_in_bfloat16() -> None:
    assert product_dtype(torch.device("cuda")) == torch.bfloat16
    assert GeneratorSettings(steps=1).dtype_on(torch.device("meta")) == torch.bfloat16
