"""Swaps under load: a real device and real engines on a tiny model."""

from pathlib import Path

import pytest

from benchmarks import swaps
from benchmarks.errors import BenchmarkError
from tests.edge_runtime.conftest import tiny_base  # noqa: F401 - a fixture


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["attached", "merged"])
def test_no_request_fails_while_what_serves_is_changed(
    tiny_base: Path,  # noqa: F811
    mode: str,
) -> None:
    figures = swaps.run(mode, swaps=6, model=str(tiny_base), seconds=0.5)
    assert figures[f"swap_failed_requests_{mode}"].value == 0
    assert figures[f"swap_requests_{mode}"].value > 50
    p99 = figures[f"swap_p99_{mode}"]
    assert p99.baseline is not None
    assert p99.target == pytest.approx(2 * p99.baseline, rel=0.01)
    assert figures[f"swap_seconds_{mode}"].value > 0


def test_load_without_an_answer_is_no_figure() -> None:
    load = swaps.Load([(1.0, 0.5), (2.0, 0.1)])
    assert load.p99(0.0, 3.0) == 0.5
    with pytest.raises(BenchmarkError, match="no request"):
        load.p99(5.0, 6.0)
