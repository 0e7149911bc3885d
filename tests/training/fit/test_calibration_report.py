"""The report on a calibration: its scores, its curve and its tables."""

import numpy as np
import pytest

from cloud_service.generator.confidence_model import Regression
from training.fit.calibration_report import CalibrationReport, CurveBin, judge_tasks, judge_unreal, markdown
from training.fit.observed_gains import ObservedGains

FEATURES = 5


def regression(slope: float = 1.0, evidence: float = 2.0) -> Regression:
    """Says the logistic function of the first feature."""
    weights = np.zeros(FEATURES + 1, np.float32)
    weights[0] = slope
    return Regression(np.zeros(FEATURES, np.float32), np.ones(FEATURES, np.float32), weights, 0.0, 1.0, evidence)


def observed(scores: list[float], gains: list[float]) -> ObservedGains:
    features = np.zeros((len(scores), FEATURES), np.float32)
    features[:, 0] = [np.log(score / (1 - score)) for score in scores]
    return ObservedGains(features, np.array(gains), inputs=2)


def test_brier_score_counts_inputs_and_is_compared_with_the_mean_gain() -> None:
    scores = judge_tasks(regression(), observed([0.8, 0.2], [0.5, 0.0]))
    inputs = [(0.8, 1), (0.8, 0), (0.2, 0), (0.2, 0)]
    assert scores.brier == pytest.approx(np.mean([(said - was) ** 2 for said, was in inputs]))
    assert scores.brier_of_constant == pytest.approx(np.mean([(0.25 - was) ** 2 for _, was in inputs]))
    assert (scores.tasks, scores.gain, scores.confidence) == (2, 0.25, pytest.approx(0.5))


def test_area_under_roc_counts_pairs_of_inputs_and_half_the_ties() -> None:
    scores = judge_tasks(regression(), observed([0.8, 0.2], [0.5, 0.0]))
    assert scores.area_under_roc == pytest.approx((0.5 + 1 + 1) / 3)
    assert judge_tasks(regression(-1.0), observed([0.8, 0.2], [1.0, 0.0])).area_under_roc == 0
    assert judge_tasks(regression(), observed([0.8, 0.2], [0.0, 0.0])).area_under_roc is None
    assert judge_tasks(regression(), observed([0.8, 0.2], [1.0, 1.0])).area_under_roc is None


def test_curve_has_ten_bins_without_the_empty_ones() -> None:
    curve = judge_tasks(regression(), observed([0.11, 0.19, 0.99], [0.0, 0.5, 1.0])).curve
    assert curve == (
        CurveBin(pytest.approx(0.15), 0.25, 2),  # type: ignore[arg-type]
        CurveBin(pytest.approx(0.99), 1.0, 1),  # type: ignore[arg-type]
    )
    certain = ObservedGains(np.full((1, FEATURES), 5.0, np.float32), np.array([1.0]), inputs=2)
    assert judge_tasks(regression(10.0), certain).curve[0].tasks == 1  # a confidence of 1 has a bin, too


def test_probe_of_half_the_inputs_tells_of_the_others() -> None:
    """Of two inputs each may be the probe: after one that was gained, 0.5 becomes (2 * 0.5 + 1) / 3."""
    alike = observed([0.5, 0.5, 0.5], [1.0, 0.0, 0.5])
    probed = judge_tasks(regression(), alike).probed
    after = [(2 / 3, 1), (2 / 3, 1), (1 / 3, 0), (1 / 3, 0), (2 / 3, 0), (1 / 3, 1)]
    assert probed.inputs == 1
    assert probed.brier == pytest.approx(np.mean([(said - was) ** 2 for said, was in after]))
    assert probed.area_under_roc == pytest.approx(6 / 9)
    certain = judge_tasks(regression(evidence=0.01), observed([0.5, 0.5], [1.0, 0.0])).probed
    assert (certain.brier < 0.001, certain.area_under_roc) == (True, 1.0)


def test_unreal_texts_are_reported_by_how_many_are_warned_of() -> None:
    scores = judge_unreal(regression(), observed([0.2, 0.4, 0.6], [0, 0, 0]).features)
    assert (scores.texts, scores.confidence, scores.low) == (3, pytest.approx(0.4), pytest.approx(2 / 3))


def test_tables_show_every_number() -> None:
    tasks = judge_tasks(regression(), observed([0.8, 0.2], [0.5, 0.0]))
    alike = judge_tasks(regression(), observed([0.8, 0.2], [0.0, 0.0]))
    unreal = judge_unreal(regression(), observed([0.2, 0.6], [0, 0]).features)
    report = CalibrationReport(
        "tiny", "d1", {"open": 7, "closed": 9}, {"open": tasks, "closed": alike}, {"prose": unreal}
    )
    text = markdown(report)
    assert "Generator tiny, digest d1." in text
    assert "| 7 | 2 | 0.250 | 0.500 | 0.190 | 0.188 | 0.833 |" in text
    assert "|  | after a probe of 1 |  |  | 0.251 |  | 0.667 |" in text
    assert "| 9 | 2 | 0.000 | 0.500 | 0.340 | 0.000 | - |" in text
    assert "| 0.80 | 0.50 | 1 |" in text
    assert "| prose | 2 | 0.400 | 50 % |" in text
    assert "## Closed sets, answered by codes" in text
