"""Calibrates a generator's confidence: `python -m training.fit.calibrate --pair models/nano --data DIR`.

Fits the logistic regression of `cloud_service.generator.confidence_model` on descriptions of training and of validation
tasks and tools against texts that ask for nothing, writes it into the generator's checkpoint, whose digest changes, and
reports on the test part how well the two kinds are told apart: areas under the ROC curve, build/confidence.json.
"""

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cloud_service.generator import TorchGenerator, load_generator
from cloud_service.generator.checkpoint import add_calibration
from cloud_service.generator.confidence_model import Calibration, regression_inputs
from training.data.descriptions import UNREAL, Descriptions, load_descriptions
from training.evaluation.served import PairPaths

TARGET = 0.95
FARTHEST_QUANTILE = 0.99
PENALTIES = (1e-3, 1e-2, 1e-1)
"""Weights of the squared coefficients, tried on a fifth of the calibration descriptions that the fit leaves out."""

Features = NDArray[np.float32]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the calibration from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.fit.calibrate", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of packed public data (docs/training.md)")
    parser.add_argument(
        "--pair", type=Path, default=Path("models/nano"), help="folder with generator/, edge/, and cloud/ if it has one"
    )
    parser.add_argument("--cloud", help="folder or hub id of the cloud model, where it is not what the generator names")
    parser.add_argument("--edge", help="folder or hub id of the edge model, likewise")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--out", type=Path, default=Path("build/confidence.json"), help="where the report goes")
    parser.add_argument("--descriptions", type=int, default=500, help="of each kind to fit on; 2/5 of it to test")
    parser.add_argument("--dry-run", action="store_true", help="report, and leave the checkpoint as it is")
    arguments = parser.parse_args(argv)
    pair = PairPaths.of(arguments.pair, arguments.cloud, arguments.edge)
    generator = load_generator(pair.generator, pair.cloud, pair.edge, arguments.device)
    descriptions = load_descriptions(arguments.data)
    count: int = arguments.descriptions
    fit_on = measure_descriptions(generator, descriptions["validation"], count)
    calibration = fit(fit_on)
    report = make_report(calibration, measure_descriptions(generator, descriptions["test"], max(2, count * 2 // 5)))
    if not arguments.dry_run:
        report["generator_digest"] = add_calibration(pair.generator, calibration).digest
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


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
    """The calibration that tells real descriptions from unreal ones best.

    Both sides weigh the same, whatever their number, so that a score of one half is the balance point.
    """
    trained = measured["trained"]
    center, scale = trained.mean(0), trained.std(0) + 1e-6
    features = np.concatenate(list(measured.values()))
    real = np.concatenate([np.full(len(rows), kind not in UNREAL) for kind, rows in measured.items()])
    inputs = regression_inputs(features, center, scale)
    kept = np.random.default_rng(0).random(len(inputs)) < 0.8
    losses = {
        penalty: _loss(_regress(inputs[kept], real[kept], penalty), inputs[~kept], real[~kept]) for penalty in PENALTIES
    }
    best = min(losses, key=losses.__getitem__)
    coefficients = _regress(inputs, real, best)
    distances = regression_inputs(trained, center, scale)[:, -1]
    return Calibration(
        center,
        scale,
        coefficients[:-1].astype(np.float32),
        float(coefficients[-1]),
        float(np.quantile(distances, FARTHEST_QUANTILE)),
    )


def make_report(calibration: Calibration, measured: Mapping[str, Features]) -> dict[str, object]:
    """Areas under the ROC curve by suite of real and kind of unreal descriptions, and shares over one half."""
    scores = {kind: np.array([calibration.judge(row).score for row in rows]) for kind, rows in measured.items()}
    unreal = np.concatenate([scores[kind] for kind in UNREAL])
    areas = {
        suite: {
            "all": area_under_roc(values, unreal),
            **{kind: area_under_roc(values, scores[kind]) for kind in UNREAL},
        }
        for suite, values in scores.items()
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
    order = np.sort(unreal)
    below = np.searchsorted(order, real, "left") + np.searchsorted(order, real, "right")
    return float(below.mean() / (2 * len(unreal)))


def _regress(inputs: NDArray[np.float64], real: NDArray[np.bool_], penalty: float) -> NDArray[np.float64]:
    """Coefficients and, last, the bias of a logistic regression; the bias is not penalized."""
    x = torch.from_numpy(np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1))
    y, weight = torch.from_numpy(real.astype(np.float64)), torch.from_numpy(_balanced(real))
    coefficients = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([coefficients], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(x @ coefficients, y, weight)
        loss = loss + penalty * coefficients[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    fitted: NDArray[np.float64] = coefficients.detach().numpy()
    return fitted


def _loss(coefficients: NDArray[np.float64], inputs: NDArray[np.float64], real: NDArray[np.bool_]) -> float:
    logits = inputs @ coefficients[:-1] + coefficients[-1]
    return float((_balanced(real) * np.logaddexp(0, np.where(real, -logits, logits))).mean())


def _balanced(real: NDArray[np.bool_]) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.where(real, 0.5 / max(real.mean(), 1e-9), 0.5 / max(1 - real.mean(), 1e-9))
    return weights


if __name__ == "__main__":
    main()
