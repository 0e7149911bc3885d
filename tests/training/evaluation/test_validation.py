"""Quick scores on validation episodes."""

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from cloud_service.generator import LoraGenerator
from cloud_service.generator.answer_batch import answer_loss
from cloud_service.generator.edge import edge_shape
from cloud_service.task import TaskDescription
from tests.training.models import tiny_config, tiny_model
from training.data.episodes import Episode, Instance
from training.evaluation.edge_writer import EdgeWriter
from training.evaluation.validation import ValidationSet
from training.fit.generator import EdgeAnswers

INSTANCES = (Instance("wake me at seven", "set_alarm"), Instance("what is it now", "12:30 pm"))
EPISODES = [
    Episode(name, TaskDescription(f"Do {number}."), INSTANCES)
    for number, name in enumerate(("tools", "classify/a", "tools", "classify/b", "extract"))
]


@pytest.fixture
def edge(tokenizer: PreTrainedTokenizerFast) -> EdgeAnswers:
    return EdgeAnswers(tiny_model(tokenizer, 2), tokenizer, longest=80, dtype=torch.float32)


@pytest.fixture
def validation(edge: EdgeAnswers, tokenizer: PreTrainedTokenizerFast) -> ValidationSet:
    return ValidationSet(EPISODES, tokenizer, edge, EdgeWriter(edge.model, tokenizer, 120))


@pytest.fixture
def generator(edge: EdgeAnswers, tokenizer: PreTrainedTokenizerFast) -> LoraGenerator:
    torch.manual_seed(5)
    shape = edge_shape(edge.model.config)
    return LoraGenerator(tiny_config(norm="none"), tiny_model(tokenizer, 1), shape).eval().requires_grad_(False)


def test_another_is_of_the_same_family_where_there_is_one(validation: ValidationSet) -> None:
    another = [task.description for task in validation.descriptions["mismatched"]]
    assert another == ["Do 2.", "Do 3.", "Do 0.", "Do 1.", "Do 0."]
    assert not set(validation.descriptions["gibberish"]) & set(validation.descriptions["right"])


def test_generator_that_changes_nothing_scores_as_the_edge_model_alone(
    validation: ValidationSet, generator: LoraGenerator, edge: EdgeAnswers
) -> None:
    batch = edge.chat.batch(INSTANCES, [None, None])
    with torch.inference_mode():
        expected = answer_loss(edge.logits(batch, None), batch).item()
    scores = validation.score(generator)
    assert scores.cross_entropy == pytest.approx(
        dict.fromkeys(("right", "mismatched", "gibberish"), expected), rel=1e-4
    )
    assert scores.exact_match == 0


def test_scores_are_those_of_one_description_at_a_time(
    validation: ValidationSet, generator: LoraGenerator, edge: EdgeAnswers, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Grouping by length must not give a task the factors of its neighbour."""
    for b in generator.bank.b.values():
        b.normal_(std=0.3)
    losses = [
        ValidationSet([episode, episode], tokenizer, edge, EdgeWriter(edge.model, tokenizer, 120))
        .score(generator)
        .cross_entropy["right"]
        for episode in EPISODES
    ]
    assert max(losses) - min(losses) > 0.01, "descriptions matter"
    assert validation.score(generator).cross_entropy["right"] == pytest.approx(sum(losses) / 5, rel=1e-4)


def test_description_that_the_generator_keeps_stands_in_front(
    validation: ValidationSet, edge: EdgeAnswers, tokenizer: PreTrainedTokenizerFast
) -> None:
    """With experts that change nothing, the scores are those of the prompted edge model."""
    config = tiny_config(norm="none", residual_prompt_tokens=20)
    generator = LoraGenerator(config, tiny_model(tokenizer, 1), edge_shape(edge.model.config)).eval()
    scores = validation.score(generator).cross_entropy
    with torch.inference_mode():
        for kind in ("right", "mismatched"):
            losses = []
            for each in validation.descriptions[kind]:
                batch = edge.chat.batch(INSTANCES, [each.description] * 2)
                losses.append(answer_loss(edge.logits(batch, None), batch).item())
            assert scores[kind] == pytest.approx(sum(losses) / 5, rel=1e-4)
    assert scores["right"] != pytest.approx(scores["mismatched"], rel=1e-4)
