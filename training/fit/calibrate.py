"""Calibrates a generator's confidence: `python -m training calibrate --data DIR`.

Fits the logistic regressions of `cloud_service.generator.confidence_model` on the gains that are observed on tasks of
the validation part, and writes them into the generator's checkpoint, whose digest changes. Texts that ask for nothing
are among the open tasks, and gain nothing. A report on the test part says how far the confidence can be trusted.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import betaln
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from cloud_service.generator import TorchGenerator, load_generator
from cloud_service.generator.checkpoint import add_calibration, read_manifest
from cloud_service.generator.confidence_model import Calibration, Regression, regression_inputs
from loragen.client import ModelPair
from training.data.descriptions import UNREAL, Descriptions, Kind, load_descriptions
from training.fit.calibration_report import CalibrationReport, judge_tasks, judge_unreal
from training.fit.observed_gains import GainRecords, ObservedGains, draw_tasks, gains_of, observe

FARTHEST_QUANTILE = 0.99
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
"""Weights of the squared coefficients, tried on a fifth of the tasks that the fit leaves out."""

EVIDENCE_RANGE = (0.1, 100.0)
"""Between tasks of which one answer tells nearly all, and tasks of which the features tell all."""

TEST_SHARE = 2 / 5
"""Tasks of the test part, for each of the validation part."""

UNREAL_SHARE = 1 / 8
"""Texts of each unreal kind, for each open task."""

Features = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CalibrationRun:
    """What is calibrated, and on how much.

    Attributes:
        pair: The generator and its models.
        data: Folder of packed public data.
        families: How often training draws each family; none for the usual mixture.
        descriptions: Open tasks to fit on.
        sets: Closed sets to fit on, where the generator has a choice head.
        runs: Where observations stay.
        device: Where the models run.
    """

    pair: ModelPair
    data: Path
    families: Mapping[str, float] = field(default_factory=dict)
    descriptions: int = 240
    sets: int = 300
    runs: Path = Path("runs/calibration")
    device: str = "cpu"


def calibrate_pair(run: CalibrationRun, *, store: bool = True) -> CalibrationReport:
    """Fits on the validation part, and reports on the test part.

    Args:
        run: What is calibrated.
        store: Write the calibration into the checkpoint.

    Raises:
        ValueError: The data hold no task of a kind that the generator answers.
    """
    pair = run.pair
    models = Path(pair.cloud_model), Path(pair.edge_model)
    # Without a calibration that may be there: it is replaced, and may be none that can be read.
    generator = load_generator(pair.generator, *models, run.device, calibrated=False)
    parts = load_descriptions(run.data, run.families)
    kinds: dict[Kind, int] = {"open": run.descriptions}
    if generator.info.most_choices:
        kinds["closed"] = run.sets
    # 1. Draw all tasks, and let the edge model answer their inputs: this takes the time.
    drawn = {
        (part, kind): draw_tasks(generator, source, kind, count if part == "validation" else _share(count, TEST_SHARE))
        for part, source in parts.items()
        for kind, count in kinds.items()
    }
    records = GainRecords(run.runs, read_manifest(pair.generator))
    observe(generator, [task for tasks in drawn.values() for task in tasks], records)
    observed = {(part, kind): gains_of(generator, tasks, kind, records) for (part, kind), tasks in drawn.items()}
    # 2. Fit on the validation part.
    unreal = {
        part: measure_unreal(generator, source, _share(len(drawn[part, "open"]), UNREAL_SHARE))
        for part, source in parts.items()
    }
    calibration = Calibration(
        fit(observed["validation", "open"], np.concatenate(list(unreal["validation"].values()))),
        fit(observed["validation", "closed"]) if "closed" in kinds else None,
    )
    # 3. Report on the test part.
    regressions: dict[Kind, Regression | None] = {"open": calibration.open, "closed": calibration.closed}
    return CalibrationReport(
        generator=generator.info.id,
        generator_digest=(
            add_calibration(pair.generator, calibration) if store else read_manifest(pair.generator)
        ).digest,
        fitted_on={kind: len(drawn["validation", kind]) for kind in kinds},
        tasks={
            kind: judge_tasks(regression, observed["test", kind])
            for kind, regression in regressions.items()
            if regression is not None
        },
        unreal={kind: judge_unreal(calibration.open, rows) for kind, rows in unreal["test"].items()},
    )


def measure_unreal(generator: TorchGenerator, source: Descriptions, count: int) -> dict[str, Features]:
    """Features of `count` texts of each unreal kind, (count, features); texts that are too long are redrawn."""
    measured = {}
    for kind in UNREAL:
        rng = random.Random(f"calibrate/{source.part}/{kind}")
        prompts: list[str] = []
        while len(prompts) < count:
            prompt = source.draw_unreal(rng, kind)
            if generator.count_tokens(prompt) <= generator.info.max_prompt_tokens:
                prompts.append(prompt)
        measured[kind] = generator.measure(prompts)
    return measured


def fit(observed: ObservedGains, unreal: Features | None = None) -> Regression:
    """The regression that predicts the observed gains best, and a gain of 0 for unreal texts, (texts, features)."""
    # 1. Features become deviations from the tasks'; from them, the gain is to be predicted.
    center, scale = observed.features.mean(0), observed.features.std(0) + 1e-6
    unreal = observed.features[:0] if unreal is None else unreal
    inputs = regression_inputs(np.concatenate([observed.features, unreal]), center, scale)
    gains = np.concatenate([observed.gains, np.zeros(len(unreal))])
    # 2. The penalty is the one that predicts a fifth left out best; with it, the fit is on everything.
    fitted_on = np.arange(len(inputs)) % 5 != 4
    losses = {
        penalty: _loss(_regress(inputs[fitted_on], gains[fitted_on], penalty), inputs[~fitted_on], gains[~fitted_on])
        for penalty in PENALTIES
    }
    best = _regress(inputs, gains, min(losses, key=losses.__getitem__))
    # 3. A task that is farther away than nearly all of these is not familiar.
    real = regression_inputs(observed.features, center, scale)
    return Regression(
        center,
        scale,
        best.coef_[0].astype(np.float32),
        float(best.intercept_[0]),
        float(np.quantile(real[:, -1], FARTHEST_QUANTILE)),
        fit_evidence(best.predict_proba(real)[:, 1], observed),
    )


def fit_evidence(means: NDArray[np.float64], observed: ObservedGains) -> float:
    """How much the gains of tasks with like features differ: the sum of a beta distribution's two parameters.

    Each task's own share of gained inputs is drawn from a beta distribution around the mean that the regression gives,
    and its inputs are gained with that share. The most likely sum is returned, within `EVIDENCE_RANGE`.
    """
    gained = observed.gains * observed.inputs

    def loss(log_sum: float) -> float:
        a, b = math.exp(log_sum) * means, math.exp(log_sum) * (1 - means)
        return -float((betaln(a + gained, b + observed.inputs - gained) - betaln(a, b)).sum())

    low, high = EVIDENCE_RANGE
    return math.exp(minimize_scalar(loss, bounds=(math.log(low), math.log(high)), method="bounded").x)


def _regress(inputs: NDArray[np.float64], gains: NDArray[np.float64], penalty: float) -> LogisticRegression:
    """Minimizes the mean loss plus `penalty` times the squared coefficients.

    scikit-learn minimizes C times the summed loss plus half the squared coefficients, which gives C. A made-up task at
    the mean of the features, with a gain of one half, keeps the fit finite where all gains are 0, or all are 1.
    """
    inputs, gains = np.concatenate([inputs, np.zeros((1, inputs.shape[1]))]), np.append(gains, 0.5)
    model = LogisticRegression(C=1 / (2 * penalty * len(inputs)), max_iter=1000, tol=1e-6)
    return model.fit(*_twice(inputs, gains))


def _loss(model: LogisticRegression, inputs: NDArray[np.float64], gains: NDArray[np.float64]) -> float:
    rows, gained, weights = _twice(inputs, gains)
    return float(log_loss(gained, model.predict_proba(rows), sample_weight=weights, labels=[False, True]))


def _twice(
    inputs: NDArray[np.float64], gains: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Two rows for each task, gained and not gained, weighted by its gain and by the rest: rows, gained, weights."""
    gained = np.repeat([True, False], len(gains))
    return np.concatenate([inputs, inputs]), gained, np.concatenate([gains, 1 - gains])


def _share(count: int, share: float) -> int:
    return max(2, round(count * share))
