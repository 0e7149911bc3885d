"""Scores: intervals on known numbers, pairing, metrics on made cases, and controls on the same inputs."""

from dataclasses import replace

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from cloud_service.generator import LoraGenerator
from cloud_service.generator.edge import edge_shape
from cloud_service.task import TaskDescription
from tests.training.models import tiny_config, tiny_model
from training.data.episodes import Instance
from training.evaluation.answering import Answers, EdgeModel
from training.evaluation.measure import (
    COLUMNS,
    Interval,
    Measurement,
    TaskScores,
    choice_scores,
    interval,
    rouge_l,
    sample_spread,
    score_texts,
    share,
)
from training.evaluation.suites import SuiteTask
from training.evaluation.suites.tasks import Metric


def scored(**columns: list[float]) -> list[TaskScores]:
    """Tasks of one input each."""
    rows = zip(*columns.values(), strict=True)
    return [
        TaskScores(str(n), {name: np.array([[value]]) for name, value in zip(columns, row, strict=True)}, {}, {})
        for n, row in enumerate(rows)
    ]


def task(metric: Metric = "exact", choices: tuple[tuple[str, ...], ...] = ()) -> SuiteTask:
    samples = (TaskDescription("Do it."), TaskDescription("Please do it."))
    return SuiteTask("one", samples, (Instance("hi", "a b"), Instance("you", "c")), (), choices, metric)


def test_interval_of_a_fair_coin_is_that_of_the_normal_law() -> None:
    """For 400 tasks, half of them right, the error of the mean is 0.025: 95 % lie within 1.96 of it."""
    found = interval(scored(right=[0.0, 1.0] * 200), "right")
    assert found is not None
    assert found.mean == 0.5
    assert found.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert found.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)


def test_interval_is_a_point_where_tasks_agree() -> None:
    found = interval(scored(right=[0.75] * 4), "right")
    assert found is not None
    assert (found.mean, found.low, found.high) == (0.75, 0.75, 0.75)


def test_difference_is_paired_by_task() -> None:
    """Tasks differ far more than columns do; the difference of each is the same, and so certain."""
    found = interval(scored(right=[0.2, 0.9, 0.4, 0.6], base=[0.1, 0.8, 0.3, 0.5]), "right", minus="base")
    assert found is not None
    assert found.mean == pytest.approx(0.1)
    assert found.high - found.low < 1e-9


def test_difference_is_over_the_tasks_that_have_both_columns() -> None:
    tasks = [*scored(right=[1.0], base=[0.0]), *scored(right=[0.8], oracle=[0.9])]
    found = interval(tasks, "right", minus="oracle")
    assert found is not None
    assert found.mean == pytest.approx(-0.1)
    assert interval(tasks, "gibberish") is None


def test_tasks_of_a_group_are_resampled_together() -> None:
    """Two groups of fifty tasks vary as two tasks do; one group does not vary at all."""
    tasks = scored(right=[0.0] * 50 + [1.0] * 50)
    grouped = [replace(task, group=str(number // 50)) for number, task in enumerate(tasks)]
    found = interval(grouped, "right")
    assert found is not None
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)
    assert interval([replace(task, group="all") for task in tasks], "right") == Interval(0.5, 0.5, 0.5)


def test_share_of_the_way_to_the_oracle_has_an_interval() -> None:
    """Over the tasks with an oracle, as a ratio of sums: tasks where the oracle gains nothing count as well."""
    tasks = [*scored(right=[0.4, 0.6, 0.5], base=[0.0, 0.2, 0.5], oracle=[0.8, 1.0, 0.5]), *scored(right=[1.0])]
    found = share(tasks, "base")
    assert found is not None
    assert found.mean == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))
    varied = share(scored(right=[0.0, 1.0, 1.0, 0.0], oracle=[1.0] * 4), 0.0)
    assert varied is not None
    assert varied.low < varied.mean == 0.5 < varied.high
    assert share(scored(right=[1.0], base=[0.5], oracle=[0.5]), "base") is None
    assert share(scored(right=[1.0], base=[0.5]), "base") is None


def test_fixed_tasks_vary_by_their_inputs_alone() -> None:
    """Two tasks that differ but whose inputs agree: certain when the tasks are all there are, not when they vary."""
    tasks = [TaskScores(str(v), {"right": np.full((1, 5), v)}, {}, {}) for v in (0.2, 0.8)]
    fixed, sampled = interval(tasks, "right", fixed_tasks=True), interval(tasks, "right")
    assert fixed is not None
    assert sampled is not None
    assert (fixed.low, fixed.high) == (pytest.approx(0.5), pytest.approx(0.5))
    assert (sampled.low, sampled.high) == (pytest.approx(0.2), pytest.approx(0.8))
    harmonic = interval(tasks, "right", fixed_tasks=True, harmonic=True)
    assert harmonic is not None
    assert harmonic.mean == pytest.approx(2 / (1 / 0.2 + 1 / 0.8))


def test_spread_is_between_the_descriptions_of_a_task() -> None:
    tasks = [TaskScores("a", {"right": np.array([[1.0, 1.0], [0.0, 0.0]])}, {}, {})]
    assert sample_spread(tasks) == 0.5


def test_rouge_l_counts_the_longest_common_subsequence() -> None:
    # "the cat mat" of 4 and of 5 words: precision 3/4, recall 3/5.
    assert rouge_l("the cat on the mat", "the cat a mat") == pytest.approx(2 * 0.75 * 0.6 / 1.35)
    assert rouge_l("the cat", "the cat") == 1.0
    assert rouge_l("the cat", "dogs") == 0.0
    assert rouge_l("!", "!") == 1.0


def test_texts_are_scored_by_the_metric_of_their_task() -> None:
    assert score_texts(task(), ["a b", " c ", "a", "C"]) == [1.0, 1.0, 0.0, 0.0]
    assert score_texts(task("rouge_l"), ["a", "c"]) == [pytest.approx(2 / 3), 1.0]


def test_choice_by_byte_decides_where_choices_are_long() -> None:
    choices = (("x", "a b"), ("c", "d"))
    found = [Answers(("", ""), (0, 0), (1, 1), (3, 3))]
    assert choice_scores(task("exact", choices), found).tolist() == [[0.0, 1.0]]
    assert choice_scores(task("choice", choices), found).tolist() == [[1.0, 0.0]]


def test_columns_are_scored_on_the_same_inputs_under_their_own_descriptions(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """With every expert's B at zero no adapter changes anything, whatever was described: controls equal base."""
    model, cloud = tiny_model(tokenizer, 2), tiny_model(tokenizer, 1)
    generator = LoraGenerator(tiny_config(norm="none"), cloud, edge_shape(model.config)).eval()
    edge = EdgeModel(model, tokenizer, longest=200)
    one = task("exact", (("a b", "c"),) * 2)
    measurement = Measurement(generator, tokenizer, edge)
    oracle = {key: (a[:1], b[:1]) for key, (a, b) in measurement.factors(one.samples).items()}
    found = measurement.score(one, one, oracle)
    assert tuple(sorted(found.score)) == tuple(sorted(found.choice)) == tuple(sorted(COLUMNS))
    for scores in (found.score, found.choice):
        for column in ("right", "another", "gibberish"):
            assert scores[column].shape == (2, 2)
            assert np.array_equal(scores[column], np.repeat(scores["base"], 2, 0))
        assert np.array_equal(scores["oracle"], scores["base"])
        assert scores["prompted"].shape == (2, 2)
    assert found.tokens["specialized"] == sum(len(edge.turns.question(text)) for text in ("hi", "you")) / 2
    assert found.tokens["prompted"] > found.tokens["specialized"] + 5
    assert "oracle" not in measurement.score(one, one, None).score
