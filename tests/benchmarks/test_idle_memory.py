"""What a device takes in memory, with a tiny model."""

from pathlib import Path

import pytest

from benchmarks import idle_memory
from benchmarks.errors import BenchmarkError
from tests.edge_runtime.conftest import tiny_base  # noqa: F401 - a fixture


@pytest.mark.slow
def test_device_is_measured_without_and_with_a_base(tiny_base: Path) -> None:  # noqa: F811
    """Bounds that a device of another machine keeps as well; more is a library that was loaded for nothing."""
    figures = idle_memory.run(str(tiny_base))
    idle, base = figures["device_idle_mb"].value, figures["device_base_mb"].value
    assert 30 < idle < 120
    assert idle < base < idle + 60


def test_device_that_fails_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="the device failed"):
        idle_memory.run(str(tmp_path / "none.gguf"))
