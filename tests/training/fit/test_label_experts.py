"""Label experts: what they are trained on, and that they learn under a choice head that stays as it is."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cloud_service.answer.choices import describe_choices
from cloud_service.generator.choice_head import ChoiceHead, ChoiceHeadConfig
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.experts import ExpertBank
from cloud_service.generator.last_layer import LastLayer
from cloud_service.generator.meanings import SentenceEncoder
from cloud_service.task import TaskDescription
from tests.cloud_service.generator.tiny import encoder_tokenizer, random_model, tokenizer
from tests.training.models import tiny_config
from training.data.corpus import Split
from training.data.episodes import Episode, Instance
from training.data.families import FamilyWeightError
from training.fit.edge_answers import EdgeAnswers
from training.fit.label_experts import LabelSettings, LabelStep
from training.fit.processes import Processes
from training.fit.ungated_experts import train_ungated_experts

SETTINGS = LabelSettings(steps=15, sets=4, inputs=2, warmup=1, learning_rate=2e-2, temperature=1.0)


class Questions:
    """Whether a text is long; some descriptions are too long for a residual prompt."""

    name = "questions"

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        instances = tuple(
            Instance(" ".join(rng.choices(["red", "blue", "tea"], k=9 if long else 2)), "yes" if long else "no")
            for long in (rng.random() < 0.5 for _ in range(inputs))
        )
        description = f"Is the {split} text long?" + " Think well." * rng.choice([0, 40])
        return Episode("questions/long", TaskDescription(description), instances, ("yes", "no"))


def make_step(settings: LabelSettings = SETTINGS) -> tuple[ExpertBank, LabelStep]:
    torch.manual_seed(3)
    model, encoder = random_model("llama", seed=2), random_model("bert", seed=4)
    edge = EdgeAnswers(model, tokenizer(), longest=96, dtype=torch.float32)
    shape = edge_shape(model.config)
    experts = ExpertBank(tiny_config(experts=3, top_k=1), shape)
    sentences = SentenceEncoder(encoder, encoder_tokenizer())
    head = ChoiceHead(
        ChoiceHeadConfig(shape.layers - 1, 6), shape.layers, shape.intermediate, shape.hidden, sentences.width, 2
    )
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    layer = LastLayer(model, tokenizer(), settings.longest_question)
    return experts, LabelStep(experts, head, edge, layer, sentences, Questions(), settings, 60, Processes())


def test_draws_follow_from_the_step_alone_and_have_a_residual_prompt() -> None:
    _, step = make_step()
    drawn = step.draw(4)
    assert drawn == make_step()[1].draw(4)
    assert drawn != step.draw(5)
    assert [episode.task.description for episode in drawn] == ["Is the train text long?"] * SETTINGS.sets
    assert "validation" in step.draw(0, "validation")[0].task.description


def test_fresh_experts_change_no_score_and_scores_are_those_of_the_head() -> None:
    _, step = make_step()
    episodes = step.draw(0)
    scores, tokens = step.scores(episodes)
    for with_experts, without in zip(scores, step.scores(episodes, with_experts=False)[0], strict=True):
        torch.testing.assert_close(with_experts, without)
    head, layer, sentences = step._head, step._layer, step._sentences
    episode = episodes[1]
    questions = step._questions(episode)
    with layer.observed() as seen, torch.no_grad():
        step._edge.states(torch.tensor([questions[0]]), None)
    keys = head(sentences.read([describe_choices(episode.task, episode.labels)]))[0, 0]
    torch.testing.assert_close(scores[1][0], keys @ head.a[0] @ seen[0][0, -1], rtol=1e-4, atol=1e-5)
    assert tokens == sum(len(question) for each in episodes for question in step._questions(each))


def test_training_lowers_the_loss_and_resumes(tmp_path: Path) -> None:
    experts, step = make_step()
    head = {name: value.clone() for name, value in step._head.state_dict().items()}
    losses = train_ungated_experts(experts, step, SETTINGS, tmp_path / "labels", Processes())
    assert sum(losses[-3:]) < 0.7 * sum(losses[:3])
    assert all(torch.equal(value, head[name]) for name, value in step._head.state_dict().items())
    again, step = make_step()
    assert train_ungated_experts(again, step, SETTINGS, tmp_path / "labels", Processes()) == []
    torch.testing.assert_close(again.b["up"], experts.b["up"])


def test_long_inputs_lose_their_beginning() -> None:
    _, step = make_step(replace(SETTINGS, longest_question=7))
    assert {len(question) for episode in step.draw(1) for question in step._questions(episode)} == {7}


def test_unknown_families_are_refused() -> None:
    with pytest.raises(FamilyWeightError, match="the nearest name is yes_no"):
        LabelSettings(families={"yes_noo": 1.0})
