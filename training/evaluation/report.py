"""What an evaluation leaves: its figures as values, and the files build/eval.json, evaluation.md and evaluation.png."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loragen.contract.atomic import write_atomic
from training.evaluation.intervals import COLUMNS, Interval, TaskScores, interval, sample_spread, share
from training.evaluation.served import ServedScores
from training.evaluation.suites import Suite

DIFFERENCES = (
    ("right", "base"),
    ("right", "prompted"),
    ("right", "mismatched"),
    ("right", "gibberish"),
    ("prompted", "base"),
)
WAYS = ("prompted", "specialized")


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """Scores of a suite.

    Attributes:
        scores: Of each task.
        served: Of tasks that also ran through the product's path.
    """

    suite: Suite
    scores: Sequence[TaskScores]
    served: Sequence[ServedScores] = field(default_factory=tuple)

    @property
    def instances(self) -> int:
        """Answers of a column: inputs times description samples."""
        return sum(len(task.instances) * len(task.samples) for task in self.suite.tasks)

    @property
    def oracles(self) -> int:
        """Tasks that have an oracle."""
        return sum("oracle" in task.score for task in self.scores)

    def interval(self, column: str, minus: str | None = None, choice: bool = False) -> Interval | None:
        """Of the suite's mean; None where no task has the columns."""
        return interval(self.scores, column, minus, choice, self.suite.fixed_tasks)

    def harmonic_mean(self, column: str) -> Interval | None:
        """Of a suite whose tasks are fixed; None where no task has the column."""
        return interval(self.scores, column, fixed_tasks=True, harmonic=True)

    def tokens(self, way: str) -> float:
        """Mean input tokens, one of `WAYS`."""
        return statistics.fmean(task.tokens[way] for task in self.scores)

    def oracle_gain(self) -> Interval | None:
        """(right - base) / (oracle - base) over the tasks with an oracle; None where the oracle gains nothing."""
        return share(self.scores, "base")

    def chance_to_oracle(self) -> Interval | None:
        """How far right comes on the way from chance to oracle, over the tasks with an oracle."""
        return None if self.suite.chance is None else share(self.scores, self.suite.chance)

    def served_seconds(self) -> dict[str, float]:
        """Mean time of an answer of the device, by `WAYS`; empty when nothing was served."""
        return {way: statistics.fmean(each.seconds[way] for each in self.served) for way in WAYS if self.served}


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """An evaluation.

    Attributes:
        about: What was evaluated and how, for people: pair, split, sizes, seconds.
    """

    about: Mapping[str, Any]
    suites: Sequence[SuiteResult]


def document(report: EvaluationReport) -> dict[str, Any]:
    """What build/eval.json holds: `suites` with the promised figures, `details` with all others, `about`."""
    return {
        "about": dict(report.about),
        "suites": {
            result.suite.name: {
                "tasks": len(result.scores),
                "instances": result.instances,
                "score": _by_column({column: result.interval(column) for column in COLUMNS}),
                "tokens": {way: result.tokens(way) for way in WAYS},
            }
            for result in report.suites
        },
        "details": {result.suite.name: _details(result) for result in report.suites},
    }


def write_report(report: EvaluationReport, out: Path, results: Path) -> str:
    """Writes the JSON to `out`, the table to `results`/evaluation.md and the plot to evaluation.png.

    Returns:
        The Markdown.
    """
    # Imported here: both show reports, and matplotlib takes a second to load.
    from training.evaluation.plot import plot
    from training.evaluation.tables import markdown

    text = markdown(report)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, (json.dumps(document(report), indent=2) + "\n").encode())
    results.mkdir(parents=True, exist_ok=True)
    (results / "evaluation.md").write_text(text)
    plot(report, results / "evaluation.png")
    return text


def _details(result: SuiteResult) -> dict[str, Any]:
    details: dict[str, Any] = {
        "difference": _by_column({f"{a} - {b}": result.interval(a, b) for a, b in DIFFERENCES}),
        "choice": _by_column({column: result.interval(column, choice=True) for column in COLUMNS}),
        "oracle_tasks": result.oracles,
        "share_of_oracle_gain": _as_dict(result.oracle_gain()),
        "chance": result.suite.chance,
        "share_from_chance_to_oracle": _as_dict(result.chance_to_oracle()),
        "spread_over_descriptions": sample_spread(result.scores),
        "by_task": {
            task.name: {column: float(values.mean()) for column, values in task.score.items()} for task in result.scores
        },
        "served": [asdict(served) for served in result.served],
        "seconds": result.served_seconds(),
    }
    if result.suite.by_likelihood:
        details["harmonic_mean"] = _by_column({column: result.harmonic_mean(column) for column in COLUMNS})
    return details


def _by_column(found: Mapping[str, Interval | None]) -> dict[str, Any]:
    return {column: asdict(value) for column, value in found.items() if value is not None}


def _as_dict(value: Interval | None) -> dict[str, float] | None:
    return None if value is None else asdict(value)
