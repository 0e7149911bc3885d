"""What an evaluation leaves: its figures as values, and the files build/eval.json and evaluation.md."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loragen.contract.atomic import write_atomic
from training.evaluation.intervals import Interval, TaskScores, interval, share
from training.evaluation.scoring import PROMPTED, SYSTEM
from training.evaluation.suites import Suite, SuiteTask

COLUMNS = ("base", PROMPTED, "larger", "average", "right", "mismatched", "gibberish", "oracle")
DIFFERENCES = (
    ("right", "base"),
    ("right", PROMPTED),
    ("right", "larger"),
    ("right", "average"),
    ("right", "mismatched"),
    ("right", "gibberish"),
)


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """Scores of a suite.

    Attributes:
        tasks: Those that were asked.
        scores: Of each of them.
    """

    suite: Suite
    tasks: Sequence[SuiteTask]
    scores: Sequence[TaskScores]

    @property
    def inputs(self) -> int:
        """Answers of a column."""
        return sum(len(task.instances) for task in self.tasks)

    @property
    def chance(self) -> float | None:
        """What ignoring the description can give; None where that is not known."""
        return self.suite.chance(self.tasks)

    def count(self, column: str) -> int:
        """Tasks that have a column."""
        return sum(column in task.score for task in self.scores)

    def interval(self, column: str, minus: str | None = None, names: bool = False) -> Interval | None:
        """Of the suite's mean; None where no task has the columns."""
        return interval(self.scores, column, minus, names, self.suite.fixed_tasks)

    def oracle_gain(self) -> Interval | None:
        """(right - base) / (oracle - base) over the tasks with an oracle; None where the oracle gains nothing."""
        return share(self.scores, "base")

    def chance_to_oracle(self) -> Interval | None:
        """How far right comes on the way from chance to oracle, over the tasks with an oracle."""
        return None if self.chance is None else share(self.scores, self.chance)

    def tokens(self, column: str) -> float | None:
        """Mean tokens of a prompt."""
        found = [task.tokens[column] for task in self.scores if column in task.tokens]
        return statistics.fmean(found) if found else None

    def seconds(self, column: str, first: bool = False) -> float | None:
        """Median time of an answer; `first` of those that read their whole prompt anew."""
        times = [task.first_seconds if first else task.seconds for task in self.scores]
        found = [each[column] for each in times if column in each]
        return statistics.median(found) if found else None


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """An evaluation.

    Attributes:
        about: What was evaluated and how, for people.
        suites: Those of which at least one task was asked.
    """

    about: Mapping[str, Any]
    suites: Sequence[SuiteResult]


def document(report: EvaluationReport) -> dict[str, Any]:
    """What build/eval.json holds: `about`, the figures of each suite, and the targets."""
    from training.evaluation.targets import targets  # which reads reports

    return {
        "about": dict(report.about),
        "suites": {result.suite.name: _suite(result) for result in report.suites},
        "targets": [asdict(target) | {"outcome": target.outcome} for target in targets(report.suites)],
    }


def write_report(report: EvaluationReport, out: Path, results: Path) -> str:
    """Writes the JSON to `out`, and the tables to `results`/evaluation.md.

    Returns:
        The Markdown.
    """
    from training.evaluation.tables import markdown  # which shows reports

    text = markdown(report)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, (json.dumps(document(report), indent=2) + "\n").encode())
    results.mkdir(parents=True, exist_ok=True)
    (results / "evaluation.md").write_text(text)
    return text


def _suite(result: SuiteResult) -> dict[str, Any]:
    names = {column: result.interval(column, names=True) for column in COLUMNS}
    return {
        "tasks": len(result.scores),
        "inputs": result.inputs,
        "score": _known({column: result.interval(column) for column in COLUMNS}),
        "names": _known(names),
        "difference": _known({f"{a} - {b}": result.interval(a, b) for a, b in DIFFERENCES}),
        "chance": result.chance,
        "share_of_oracle_gain": _as_dict(result.oracle_gain()),
        "share_from_chance_to_oracle": _as_dict(result.chance_to_oracle()),
        "tokens": {column: result.tokens(column) for column in (SYSTEM, PROMPTED, "right")},
        "seconds": {column: result.seconds(column) for column in (PROMPTED, "right")},
        "first_seconds": {column: result.seconds(column, first=True) for column in (PROMPTED, "right")},
        "by_task": {
            task.name: {column: float(values.mean()) for column, values in task.score.items()} for task in result.scores
        },
    }


def _known(found: Mapping[str, Interval | None]) -> dict[str, Any]:
    return {column: asdict(value) for column, value in found.items() if value is not None}


def _as_dict(value: Interval | None) -> dict[str, float] | None:
    return None if value is None else asdict(value)
