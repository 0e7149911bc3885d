"""Values: the figures of an evaluation, by suite."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.evaluation.intervals import Interval, TaskScores, interval, share
from training.evaluation.scoring import PROMPTED
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
        """Where `right` stands between chance (0) and the oracle (1), over the tasks with an oracle."""
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
