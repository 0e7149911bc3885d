"""Calibrates a generator's confidence: `python -m training calibrate --data DIR`.

Fits the logistic regression of `cloud_service.generator.confidence_model` on descriptions of training and of validation
tasks and tools against texts that ask for nothing, and writes it into the generator's checkpoint, whose digest changes.
A report says how well it separates the two kinds on the test part: areas under the ROC curve.
"""

import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.utils.class_weight import compute_sample_weight

from cloud_service.generator import TorchGenerator, load_generator
from cloud_service.generator.checkpoint import add_calibration
from cloud_service.generator.confidence_model import Calibration, regression_inputs
from loragen.client import ModelPair
from training.data.descriptions import UNREAL, Descriptions, load_descriptions

TARGET = 0.95
FARTHEST_QUANTILE = 0.99
PENALTIES = (1e-3, 1e-2, 1e-1)
"""Weights of the squared coefficients, tried on a fifth of the calibration descriptions that the fit leaves out."""

Features = NDArray[np.float32]


def calibrate_pair(
    pair: ModelPair, data: Path, count: int = 500, device: str = "cpu", store: bool = True
) -> dict[str, object]:
    """Fits on the validation part of the descriptions, and reports on the test part.

    Args:
        pair: The generator and its models.
        data: Folder of packed public data.
        count: Descriptions of each suite and kind to fit on; two fifths of it are drawn for the report.
        device: Where the cloud model reads.
        store: Write the calibration into the checkpoint.
    """
    generator = load_generator(pair.generator, Path(pair.cloud_model), Path(pair.edge_model), device)
    descriptions = load_descriptions(data)
    calibration = fit(measure_descriptions(generator, descriptions["validation"], count))
    report = make_report(calibration, measure_descriptions(generator, descriptions["test"], max(2, count * 2 // 5)))
    if store:
        report["generator_digest"] = add_calibration(pair.generator, calibration).digest
    return report


def measure_descriptions(generator: TorchGenerator, source: Descriptions, count: int) -> dict[str, Features]:
    """Features of `count` prompts of each suite and kind, (count, features); prompts that are too long are redrawn."""
    measured = {}
    for kind in (*source.families, *UNREAL):
        rng = random.Random(f"calibrate/{source.part}/{kind}")
        draw = source.draw_unreal if kind in UNREAL else source.draw_real
        prompts: list[str] = []
        while len(prompts) < count:
            prompt = draw(rng, kind)
            if generator.count_tokens(prompt) <= generator.info.max_prompt_tokens:
                prompts.append(prompt)
        measured[kind] = generator.measure(prompts)
    return measured


def fit(measured: Mapping[str, Features]) -> Calibration:
    """The calibration that separates real descriptions from unreal ones best.

    Both sides weigh the same, whatever their number, so that a score of one half is the balance point.
    """
    # 1. Features become deviations from training's descriptions; from them, real or not is to be predicted.
    trained = measured["trained"]
    center, scale = trained.mean(0), trained.std(0) + 1e-6
    inputs = regression_inputs(np.concatenate(list(measured.values())), center, scale)
    real = np.concatenate([np.full(len(rows), kind not in UNREAL) for kind, rows in measured.items()])
    # 2. The penalty is the one that predicts a fifth left out best; with it, the fit is on everything.
    fitted_on = np.random.default_rng(0).random(len(inputs)) < 0.8
    losses = {
        penalty: _loss(_regress(inputs[fitted_on], real[fitted_on], penalty), inputs[~fitted_on], real[~fitted_on])
        for penalty in PENALTIES
    }
    best = _regress(inputs, real, min(losses, key=losses.__getitem__))
    # 3. Whatever is farther off than nearly all of training's descriptions is not familiar.
    distances = regression_inputs(trained, center, scale)[:, -1]
    return Calibration(
        center,
        scale,
        best.coef_[0].astype(np.float32),
        float(best.intercept_[0]),
        float(np.quantile(distances, FARTHEST_QUANTILE)),
    )


def make_report(calibration: Calibration, measured: Mapping[str, Features]) -> dict[str, object]:
    """Areas under the ROC curve by suite of real and kind of unreal descriptions, and shares over one half."""
    scores = {kind: np.array([calibration.judge(row).score for row in rows]) for kind, rows in measured.items()}
    unreal = np.concatenate([scores[kind] for kind in UNREAL])
    against = {"all": unreal, **{kind: scores[kind] for kind in UNREAL}}
    areas = {
        suite: {kind: area_under_roc(scores[suite], others) for kind, others in against.items()}
        for suite in scores
        if suite not in UNREAL
    }
    unseen = np.concatenate([scores[suite] for suite in areas if suite != "trained"] or [scores["trained"]])
    return {
        "area_under_roc": area_under_roc(unseen, unreal),
        "target": TARGET,
        "descriptions": {kind: len(values) for kind, values in scores.items()},
        "area_by_suite": areas,
        "share_over_half": {kind: float((values > 0.5).mean()) for kind, values in scores.items()},
    }


def area_under_roc(real: NDArray[np.float64], unreal: NDArray[np.float64]) -> float:
    """Chance that a real description scores higher than an unreal one; ties count half."""
    is_real = np.repeat([True, False], [len(real), len(unreal)])
    return float(roc_auc_score(is_real, np.concatenate([real, unreal])))


def _regress(inputs: NDArray[np.float64], real: NDArray[np.bool_], penalty: float) -> LogisticRegression:
    """Minimizes the mean loss plus `penalty` times the squared coefficients; C weighs the summed loss against half."""
    model = LogisticRegression(C=1 / (2 * penalty * len(inputs)), class_weight="balanced", max_iter=1000, tol=1e-6)
    return model.fit(inputs, real)


def _loss(model: LogisticRegression, inputs: NDArray[np.float64], real: NDArray[np.bool_]) -> float:
    weights = compute_sample_weight("balanced", real)
    return float(log_loss(real, model.predict_proba(inputs), sample_weight=weights, labels=[False, True]))
