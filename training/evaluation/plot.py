"""The plot of an evaluation: a group of bars for each suite, one bar for each column, with intervals."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.evaluation.intervals import COLUMNS
from training.evaluation.report import EvaluationReport

COLORS = {
    "base": "#9a9a9a",
    "prompted": "#4c78a8",
    "oracle": "#2f2f2f",
    "right": "#54a24b",
    "mismatched": "#eeca3b",
    "gibberish": "#e45756",
}


def plot(report: EvaluationReport, path: Path) -> None:
    """Writes a PNG."""
    figure = Figure(figsize=(max(6.0, 1.5 * len(report.suites)), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / len(COLUMNS)
    for number, column in enumerate(COLUMNS):
        found = [(place, result.interval(column)) for place, result in enumerate(report.suites)]
        known = [(place, value) for place, value in found if value is not None]
        axes.bar(
            [place + (number - (len(COLUMNS) - 1) / 2) * width for place, _ in known],
            [100 * value.mean for _, value in known],
            width,
            yerr=[
                [100 * max(0.0, value.mean - value.low) for _, value in known],
                [100 * max(0.0, value.high - value.mean) for _, value in known],
            ],
            error_kw={"elinewidth": 0.7},
            color=COLORS[column],
            label=column,
        )
    axes.set_xticks(range(len(report.suites)), [result.suite.name for result in report.suites], rotation=20, ha="right")
    axes.set_ylabel("score, %")
    axes.set_ylim(0, 100)
    axes.legend(ncols=len(COLUMNS), fontsize="small", loc="upper center", bbox_to_anchor=(0.5, 1.12), frameon=False)
    figure.savefig(path, dpi=130, metadata={"Software": None})
