"""The plot shows every suite, also one without oracles."""

from pathlib import Path

from training.evaluation.plot import plot
from training.evaluation.report import EvaluationReport


def test_plot_is_a_png_of_any_number_of_suites(report: EvaluationReport, tmp_path: Path) -> None:
    for count in (1, 2):
        plot(EvaluationReport({}, report.suites[:count]), tmp_path / f"{count}.png")
        assert (tmp_path / f"{count}.png").read_bytes().startswith(b"\x89PNG")
