"""How far a calibrated confidence can be trusted: curve and scores on tasks that no fit saw, as values and Markdown.

Every input of a task counts as one prediction: that it is gained, with the confidence as probability.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from cloud_service.confidence import LOW_CONFIDENCE
from cloud_service.generator.confidence_model import Regression
from training.fit.observed_gains import ObservedGains

BINS = 10

_ABOUT = """# Confidence

Made by `python -m training calibrate --report FILE`; do not edit.

The confidence is the expected share of a task's inputs that the edge model answers right with the LoRA, and not without
it. All tasks below are of the test part, which no fit saw. *Of the constant*: the Brier score of the best constant, the
mean gain. *After a probe*: when half of the inputs that were answered are a probe, the scores of the others.

"""
_TITLES = {"open": "Open tasks, answered by gates", "closed": "Closed sets, answered by codes"}


@dataclass(frozen=True, slots=True)
class CurveBin:
    """Tasks of like confidence.

    Attributes:
        predicted: Their mean confidence.
        observed: Their mean gain.
        tasks: How many they are.
    """

    predicted: float
    observed: float
    tasks: int


@dataclass(frozen=True, slots=True)
class ConfidenceScores:
    """The confidence in tasks of one kind, compared with the gains that were observed on them.

    Attributes:
        tasks: How many.
        gain: Mean gain.
        confidence: Mean confidence.
        brier: Mean square of confidence minus success, over inputs.
        brier_of_constant: That of a confidence that is the mean gain for every task.
        area_under_roc: Chance that an input that was gained has a higher confidence than one that was not; None when
            all were, or none.
        curve: Ten bins of equal width, without the empty ones.
    """

    tasks: int
    gain: float
    confidence: float
    brier: float
    brier_of_constant: float
    area_under_roc: float | None
    curve: tuple[CurveBin, ...]
    probed: "ProbedScores"


@dataclass(frozen=True, slots=True)
class ProbedScores:
    """The confidence in the same tasks once some inputs were answered, judged on the others.

    Attributes:
        inputs: How many of a task's inputs were a probe.
        brier, area_under_roc: As in `ConfidenceScores`.
    """

    inputs: int
    brier: float
    area_under_roc: float | None


@dataclass(frozen=True, slots=True)
class UnrealScores:
    """The confidence in texts that ask for nothing.

    Attributes:
        texts: How many.
        confidence: Mean confidence.
        low: Share that the service warns of as low.
    """

    texts: int
    confidence: float
    low: float


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What a calibration is worth on the test part.

    Attributes:
        generator: Its id.
        generator_digest: Its digest, after the calibration where that was stored.
        fitted_on: Tasks of the fit, by kind.
        tasks: By kind.
        unreal: By kind of text.
    """

    generator: str
    generator_digest: str
    fitted_on: Mapping[str, int]
    tasks: Mapping[str, ConfidenceScores]
    unreal: Mapping[str, UnrealScores]


def judge_tasks(regression: Regression, observed: ObservedGains) -> ConfidenceScores:
    """Scores of a regression on at least one task."""
    scores, gains = _scores(regression, observed.features), observed.gains
    mean = float(gains.mean())
    brier, area = _judge(scores, gains, np.ones(len(gains)))
    return ConfidenceScores(
        len(gains),
        mean,
        float(scores.mean()),
        brier,
        mean * (1 - mean),
        area,
        _curve(scores, gains),
        _judge_probed(regression, observed),
    )


def _judge_probed(regression: Regression, observed: ObservedGains) -> ProbedScores:
    """Over all ways to choose the probe among a task's inputs."""
    count, probed = observed.inputs, observed.inputs // 2
    rows = [
        (confidence.after(found, probed).score, (gained - found) / (count - probed), chance)
        for confidence, gained in zip(
            map(regression.judge, observed.features), (observed.gains * count).round().astype(int), strict=True
        )
        for found in range(probed + 1)
        if (chance := math.comb(gained, found) * math.comb(count - gained, probed - found))
    ]
    return ProbedScores(probed, *_judge(*np.array(rows).T))


def _judge(
    scores: NDArray[np.float64], gains: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float | None]:
    """Brier score, and area under the ROC curve."""
    # Of a task's inputs the share g is gained: their mean square is g (1 - p)^2 + (1 - g) p^2.
    brier = float(np.average(gains * (1 - scores) ** 2 + (1 - gains) * scores**2, weights=weights))
    if not 0 < np.average(gains, weights=weights) < 1:
        return brier, None
    gained = np.repeat([True, False], len(gains))
    each = np.concatenate([weights * gains, weights * (1 - gains)])
    return brier, float(roc_auc_score(gained, np.tile(scores, 2), sample_weight=each))


def judge_unreal(regression: Regression, features: NDArray[np.float32]) -> UnrealScores:
    """Scores of a regression on at least one unreal text, from (texts, features)."""
    scores = _scores(regression, features)
    return UnrealScores(len(scores), float(scores.mean()), float((scores < LOW_CONFIDENCE).mean()))


def markdown(report: CalibrationReport) -> str:
    """The whole document."""
    parts = [
        _ABOUT,
        f"Generator {report.generator}, digest {report.generator_digest}.\n",
    ]
    for kind, scores in report.tasks.items():
        parts.append(f"\n## {_TITLES[kind]}\n\n")
        parts += _table(
            ("fitted on", "tasks", "mean gain", "mean confidence", "Brier score", "of the constant", "area under ROC"),
            [
                (
                    str(report.fitted_on[kind]),
                    str(scores.tasks),
                    f"{scores.gain:.3f}",
                    f"{scores.confidence:.3f}",
                    f"{scores.brier:.3f}",
                    f"{scores.brier_of_constant:.3f}",
                    _area(scores.area_under_roc),
                ),
                (
                    "",
                    f"after a probe of {scores.probed.inputs}",
                    "",
                    "",
                    f"{scores.probed.brier:.3f}",
                    "",
                    _area(scores.probed.area_under_roc),
                ),
            ],
        )
        parts.append("\n")
        curve = [(f"{each.predicted:.2f}", f"{each.observed:.2f}", str(each.tasks)) for each in scores.curve]
        parts += _table(("mean confidence", "observed gain", "tasks"), curve)
    parts.append("\n## Texts that ask for nothing\n\n")
    parts += _table(
        ("kind", "texts", "mean confidence", f"below {LOW_CONFIDENCE}"),
        [
            (kind, str(scores.texts), f"{scores.confidence:.3f}", f"{100 * scores.low:.0f} %")
            for kind, scores in report.unreal.items()
        ],
    )
    return "".join(parts)


def _area(area: float | None) -> str:
    return "-" if area is None else f"{area:.3f}"


def _scores(regression: Regression, features: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.array([regression.judge(row).score for row in features])


def _curve(scores: NDArray[np.float64], gains: NDArray[np.float64]) -> tuple[CurveBin, ...]:
    places = np.minimum((scores * BINS).astype(int), BINS - 1)
    inside = (places == place for place in range(BINS))
    return tuple(
        CurveBin(float(scores[rows].mean()), float(gains[rows].mean()), int(rows.sum()))
        for rows in inside
        if rows.any()
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = itertools.chain([head, ("---",) * len(head)], rows)
    return [f"| {' | '.join(line)} |\n" for line in lines]
