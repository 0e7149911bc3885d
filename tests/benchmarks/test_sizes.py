"""What sizes are measured; at tiny shapes, where times mean nothing and are not looked at."""

from pathlib import Path

import pytest

from benchmarks import sizes
from benchmarks.tinyllama import RANK, ModelShape
from loragen.contract.lora import EdgeShape

TINY = ModelShape(EdgeShape(layers=2, hidden=256, intermediate=512), vocabulary=512, heads=4, kv_heads=2)


def test_sizes_are_of_the_numbers_and_a_small_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    figures = sizes.run(repeats=1, shape=TINY)
    numbers_bytes = 2 * TINY.edge.lora_numbers(RANK for _ in TINY.edge.blocks())
    assert numbers_bytes < figures["bundle_bytes"].value < numbers_bytes + 8192
    assert figures["recipe_bytes"].value < 1024
    assert figures["build_bundle_ms"].value > 0
    assert not list(Path("build").iterdir())
