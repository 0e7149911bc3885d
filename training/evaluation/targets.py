"""Rules: what the default pair must reach, suite by suite, and whether it does.

A target is met when the mean reaches its bound, and for `significant` when the interval does. What was not measured is
neither met nor missed.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from training.evaluation.intervals import Interval, interval
from training.evaluation.results import SuiteResult
from training.evaluation.scoring import PROMPTED, STRONGEST

TOOLS = ("tools-seen", "tools-unseen", "tools-renamed", "tools-described")
CLASSIFICATION = "classification"
"""Tasks with a closed set of labels, of all suites whose name begins with `tasks-`."""


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and its bound.

    Attributes:
        what: The figure, in words.
        bound: That it must reach.
        value: What it is, with its interval where it has one; None where it was not measured.
        unit: `%` and `points` are of shares, whose values are fractions; `x` is a factor.
        significant: The low end of the interval counts, and must be above the bound.
    """

    suite: str
    what: str
    bound: float
    value: Interval | None
    unit: str
    significant: bool = False

    @property
    def outcome(self) -> str:
        """`met`, `missed` or `not measured`."""
        if self.value is None:
            return "not measured"
        met = self.value.low > self.bound if self.significant else self.value.mean >= self.bound
        return "met" if met else "missed"


def targets(results: Sequence[SuiteResult]) -> list[Target]:
    """Every target of the default pair, in the order of the suites."""
    by_name = {result.suite.name: result for result in results}

    def score(name: str) -> Interval | None:
        return by_name[name].interval("right") if name in by_name else None

    def over(name: str, control: str) -> Interval | None:
        return by_name[name].interval("right", control) if name in by_name else None

    rows = [
        Target(name, "of the oracle's gain", 0.9, by_name[name].oracle_gain() if name in by_name else None, "%")
        for name in ("tasks-seen", "tasks-paraphrased")
    ]
    rows += [
        Target("tools-seen", "right", 0.85, score("tools-seen"), "%"),
        Target("tools-seen", "over the strongest of base and prompted", 0.25, over("tools-seen", STRONGEST), "points"),
        Target("tools-seen", "over mismatched", 0.25, over("tools-seen", "mismatched"), "points"),
    ]
    for name in ("tools-renamed", "tools-unseen"):
        rows += [
            Target(name, "right", 0.75, score(name), "%"),
            Target(name, "over the strongest of base and prompted", 0.15, over(name, STRONGEST), "points"),
            Target(name, "over average", 0.10, over(name, "average"), "points"),
            Target(name, "over mismatched", 0.15, over(name, "mismatched"), "points"),
        ]
    conflict = by_name["conflict"].chance_to_oracle() if "conflict" in by_name else None
    rows.append(Target("conflict", "of the way from chance to oracle", 0.8, conflict, "%"))
    for name in ("tasks-sibling", "tasks-unseen"):
        rows += [
            Target(name, "over prompted", 0.0, over(name, PROMPTED), "points"),
            Target(name, "over average", 0.0, over(name, "average"), "points", significant=True),
        ]
    rows.append(Target("calls-unseen", "over prompted", 0.20, over("calls-unseen", PROMPTED), "points"))
    rows += [Target(name, "over larger", 0.0, over(name, "larger"), "points", significant=True) for name in TOOLS]
    closed = [
        task for name, result in by_name.items() if name.startswith("tasks-") for task in result.scores if task.closed
    ]
    larger = interval(closed, "right", "larger")
    rows.append(Target(CLASSIFICATION, "over larger", 0.0, larger, "points", significant=True))
    tools = [by_name[name] for name in TOOLS if name in by_name]
    rows += [
        Target("all tools suites", "fewer tokens than prompted", 10.0, _factor(*_tokens(tools)), "x"),
        Target("all tools suites", "faster answer, prompt not cached", 4.0, _factor(*_seconds(tools, True)), "x"),
        Target("all tools suites", "faster answer, prompt cached", 1.3, _factor(*_seconds(tools, False)), "x"),
    ]
    return rows


def _tokens(results: Sequence[SuiteResult]) -> tuple[list[float], list[float]]:
    prompted, right = ([result.tokens(column) for result in results] for column in (PROMPTED, "right"))
    return [each for each in prompted if each is not None], [each for each in right if each is not None]


def _seconds(results: Sequence[SuiteResult], first: bool) -> tuple[list[float], list[float]]:
    prompted = [result.seconds(PROMPTED, first) for result in results]
    right = [result.seconds("right") for result in results]
    return [each for each in prompted if each is not None], [each for each in right if each is not None]


def _factor(above: Sequence[float], below: Sequence[float]) -> Interval | None:
    if not above or not below:
        return None
    factor = statistics.fmean(above) / statistics.fmean(below)
    return Interval(factor, factor, factor)
