"""Attached and merged are measured in the same way, on a tiny model."""

from pathlib import Path

import pytest

from benchmarks import serving_modes
from tests.edge_runtime.conftest import tiny_base  # noqa: F401 - a fixture


@pytest.mark.slow
def test_modes_are_compared(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(serving_modes, "PROMPT_TOKENS", 40)
    monkeypatch.setattr(serving_modes, "ANSWER_TOKENS", 8)
    monkeypatch.setattr(serving_modes, "CONTEXT_TOKENS", 128)
    monkeypatch.setattr(serving_modes, "_FIRST_WORD", 20)
    monkeypatch.setattr(serving_modes, "_STRIDE", 7)
    base, attached, merged = serving_modes.measure(rounds=1, threads=1, texts=2, model=str(tiny_base))
    assert (base.name, attached.name, merged.name) == ("base", "attached", "merged")
    assert attached.disk_mb is not None
    assert merged.disk_mb is not None
    assert attached.disk_mb < merged.disk_mb
    # An adapter is in half precision; the base lacks the LoRA.
    assert attached.kl < base.kl
    assert all(mode.decode > 0 and mode.prefill > 0 for mode in (base, attached, merged))
    assert serving_modes.render([base, attached, merged]).count("\n") == 4


@pytest.mark.slow
def test_memory_of_a_device_with_many_specializations_is_measured(tiny_base: Path) -> None:  # noqa: F811
    assert 30 < serving_modes.thirty(str(tiny_base), count=2) < 500
