"""Scores: metrics on made cases, and controls on the same inputs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from cloud_service.generator import LoraGenerator
from cloud_service.generator.edge import edge_shape
from cloud_service.task import TaskDescription
from tests.training.models import tiny_config, tiny_model
from training.data.episodes import Instance
from training.evaluation.edge_writer import Answers, EdgeWriter
from training.evaluation.intervals import COLUMNS
from training.evaluation.measure import Measurement, choice_scores, rouge_l, score_texts
from training.evaluation.suites import SuiteTask
from training.evaluation.suites.tasks import Metric


def task(metric: Metric = "exact", choices: tuple[tuple[str, ...], ...] = ()) -> SuiteTask:
    samples = (TaskDescription("Do it."), TaskDescription("Please do it."))
    return SuiteTask("one", samples, (Instance("hi", "a b"), Instance("you", "c")), (), choices, metric)


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
    edge = EdgeWriter(model, tokenizer, longest=200)
    one = task("exact", (("a b", "c"),) * 2)
    measurement = Measurement(generator, tokenizer, edge)
    oracle = {key: (a[:1], b[:1]) for key, (a, b) in measurement.factors(one.samples).items()}
    found = measurement.score(one, one, oracle)
    assert tuple(sorted(found.score)) == tuple(sorted(found.choice)) == tuple(sorted(COLUMNS))
    for scores in (found.score, found.choice):
        for column in ("right", "mismatched", "gibberish"):
            assert scores[column].shape == (2, 2)
            assert np.array_equal(scores[column], np.repeat(scores["base"], 2, 0))
        assert np.array_equal(scores["oracle"], scores["base"])
        assert scores["prompted"].shape == (2, 2)
    assert found.tokens["specialized"] == sum(len(edge.chat.question(text)) for text in ("hi", "you")) / 2
    assert found.tokens["prompted"] > found.tokens["specialized"] + 5
    assert "oracle" not in measurement.score(one, one, None).score


def test_each_description_is_asked_with_its_own_residual_prompt(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In front of each input, where the generator keeps one; base and oracle are asked without, and tokens count it."""
    model, cloud = tiny_model(tokenizer, 2), tiny_model(tokenizer, 1)
    generator = LoraGenerator(tiny_config(residual_prompt_tokens=20), cloud, edge_shape(model.config)).eval()
    writer = EdgeWriter(model, tokenizer, longest=200)
    one, other = task(), replace(task(), samples=(TaskDescription("Undo it."), TaskDescription("Undo " * 30)))
    asked: list[list[str | None]] = []
    answer = writer.answer

    def record(inputs: list[str], systems: list[str | None], *others: Any) -> Answers:
        asked.append(systems)
        return answer(inputs, systems, *others)

    monkeypatch.setattr(writer, "answer", record)
    measurement = Measurement(generator, tokenizer, writer)
    oracle = {key: (a[:1], b[:1]) for key, (a, b) in measurement.factors(one.samples).items()}
    found = measurement.score(one, other, oracle)
    right, mismatched = ["Do it."] * 2 + ["Please do it."] * 2, ["Undo it."] * 2 + [None] * 2
    assert right in asked
    assert mismatched in asked
    assert asked.count([None, None]) == 2, "base and oracle"
    base = sum(len(writer.chat.question(text)) for text in ("hi", "you")) / 2
    assert base < found.tokens["specialized"] <= found.tokens["prompted"]
