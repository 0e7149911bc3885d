"""Call experts: what they are trained on, that they learn to copy arguments, and what the penalty keeps as it was."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from cloud_service.answer.choices import Choice
from cloud_service.generator.answer_batch import AnswerBatch, answer_losses
from cloud_service.generator.choice_head import ChoiceHead, ChoiceHeadConfig, ChoiceMeanings
from cloud_service.generator.edge import edge_shape
from cloud_service.generator.experts import ExpertBank
from cloud_service.generator.last_layer import LastLayer
from cloud_service.generator.meanings import SentenceEncoder
from cloud_service.task import Tool
from tests.training.models import tiny_config, tiny_model
from training.data.corpus import SPLITS, Split
from training.data.families.function_calls import Call, CalledFunction, FunctionCalls
from training.fit.call_experts import (
    FIRST_ARGUMENT_DRAW,
    CallDraws,
    CallSettings,
    CallStep,
    written,
)
from training.fit.edge_answers import EdgeAnswers
from training.fit.processes import Processes
from training.fit.ungated_experts import train_ungated_experts

SETTINGS = CallSettings(steps=12, sets=2, requests=2, warmup=1, learning_rate=2e-2)


def family(verb: str = "wake") -> FunctionCalls:
    calls: dict[Split, list[Call]] = {
        split: [Call(f"{split} {verb} me at {n}", {"time": str(n)}) for n in range(5)] for split in SPLITS
    }
    others = Tool("Weather", "Says the weather"), Tool("Play", "Plays music")
    return FunctionCalls([CalledFunction(Tool("SetAlarm", "Sets an alarm", ("time", "day")), calls)], others)


def make_draws(settings: CallSettings = SETTINGS) -> CallDraws:
    return CallDraws(family(), family("rouse"), family("get"), settings)


@pytest.fixture
def edge(tokenizer: PreTrainedTokenizerFast) -> EdgeAnswers:
    return EdgeAnswers(tiny_model(tokenizer, 2), tokenizer, longest=96, dtype=torch.float32)


def make_step(edge: EdgeAnswers, settings: CallSettings) -> tuple[ExpertBank, CallStep]:
    torch.manual_seed(3)
    experts = ExpertBank(tiny_config(experts=3, top_k=1), edge_shape(edge.model.config))
    layer = LastLayer(edge.model, edge.chat.tokenizer, settings.longest_request)
    return experts, CallStep(experts, edge, layer, make_draws(settings), settings, Processes())


@pytest.mark.parametrize(
    ("value", "as_numbers", "expected"),
    [
        ("7", True, 7),
        ("7.25", True, 7.25),
        ("7", False, "7"),
        ("007", True, "007"),
        ("7 pm", True, "7 pm"),
        ("²", True, "²"),
        ("true", False, True),
    ],
)
def test_values_are_numbers_only_where_json_has_the_same(value: str, as_numbers: bool, expected: object) -> None:
    call = written("at 7", json.dumps({"name": "wake", "arguments": {"time": value}}), {"wake": ["time"]}, as_numbers)
    assert json.loads(call.arguments) == {"time": expected}


def test_a_call_has_every_parameter_in_the_functions_order_and_null_for_what_was_not_said() -> None:
    whole = '{"name": "f", "arguments": {"b": "Zürich", "a": "1"}}'
    call = written("to Zürich", whole, {"f": ["a", "c", "b"]}, as_numbers=False)
    assert call.beginning + call.arguments + "}" == '{"name": "f", "arguments": {"a": "1", "c": null, "b": "Zürich"}}'
    assert [call.arguments[start:end] for start, end in call.values] == ['"1",', "null,", '"Zürich"}']


def test_each_kind_of_function_has_its_share_of_the_sets() -> None:
    calls = make_draws(replace(SETTINGS, sets=100, made=0.5, apps=0.3)).draw(0)
    assert 70 < sum("rouse" in call.request for call in calls) < 130
    assert 30 < sum("get" in call.request for call in calls) < 90
    assert all("wake" in call.request for call in make_draws(replace(SETTINGS, made=0.0, apps=0.0)).draw(0))


def test_draws_follow_from_the_step_alone() -> None:
    draws = make_draws()
    assert draws.draw(4) == make_draws().draw(4)
    assert draws.draw(4) != draws.draw(5)
    assert len(draws.draw(4)) == SETTINGS.sets * SETTINGS.requests
    assert all("validation" in call.request for call in draws.draw(0, "validation"))


def test_only_values_carry_the_loss(edge: EdgeAnswers) -> None:
    """Fresh experts change nothing: the loss is the base model's on the values, and nothing drifts."""
    _, step = make_step(edge, SETTINGS)
    calls = make_draws().draw(0)
    expected = []
    for call in calls:
        request, beginning, arguments = step.encode(call)
        assert edge.chat.tokenizer.decode(beginning) == call.beginning
        assert edge.chat.tokenizer.decode(arguments) == call.arguments
        is_of_value, place = [], 0
        for token in arguments:
            end = place + len(edge.chat.tokenizer.decode([token]))
            is_of_value.append(any(place < last and first < end for first, last in call.values))
            place = end
        assert 0 < sum(is_of_value) < len(arguments)
        batch = AnswerBatch.of([(request + beginning, arguments)]).only(is_of_value)
        expected.append(answer_losses(step.allowed(edge.logits(batch, None), batch), batch))
    loss, tokens = step(0)
    torch.testing.assert_close(loss, torch.cat(expected).mean(), rtol=1e-4, atol=1e-4)
    assert tokens == sum(len(part) for call in calls for part in step.encode(call))


def test_what_a_grammar_forbids_takes_no_part(edge: EdgeAnswers) -> None:
    """A value's type, and whether another parameter follows, are the grammar's to know; that it is null is not."""
    _, step = make_step(edge, SETTINGS)
    comma, brace, word = (edge.chat.answer(text)[0] for text in (",", "}", "wake"))
    batch = AnswerBatch.of([([1, 2], [comma, word, brace])])
    logits = step.allowed(torch.zeros(3, edge.model.config.vocab_size), batch)
    assert (logits == -torch.inf).nonzero().tolist() == [[0, brace], [2, comma]]


def test_the_choice_head_pushes_codes_while_arguments_are_learned(edge: EdgeAnswers) -> None:
    """With the functions of each call's set; a head that writes nothing changes nothing."""
    settings = replace(SETTINGS, sets=6)  # one of which has several functions: a set of one has nothing to choose
    experts, without = make_step(edge, settings)
    sizes = edge.model.config
    head = ChoiceHead(ChoiceHeadConfig(1, 3), 2, sizes.intermediate_size, sizes.hidden_size, encoder=4, codes=5)
    sentences = Sentences()
    step = CallStep(
        experts,
        edge,
        without._layer,
        make_draws(settings),
        settings,
        Processes(),
        head,
        cast("SentenceEncoder", sentences),
    )
    expected = without(0)[0]
    torch.testing.assert_close(step(0)[0], expected)
    assert {texts for sets in sentences.asked for texts in sets} == {
        tuple(choice.text for choice in call.choices) for call in make_draws(settings).draw(0)
    }
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    assert not torch.allclose(step(0)[0], expected, rtol=1e-3)
    loss, _ = step(0)
    loss.backward()
    assert head.a.grad is None


class Sentences:
    """Stands for the sentence encoder: every choice means something else."""

    def __init__(self) -> None:
        self.asked: list[list[tuple[str, ...]]] = []

    def read(self, sets: Sequence[Sequence[Choice]]) -> ChoiceMeanings:
        self.asked.append([tuple(choice.text for choice in each) for each in sets])
        shape = len(sets), max(map(len, sets)), 4
        mask = torch.tensor([[n < len(each) for n in range(shape[1])] for each in sets])
        return ChoiceMeanings(torch.randn(shape, generator=torch.Generator().manual_seed(1)), torch.zeros(shape), mask)


def test_training_lowers_the_loss_and_resumes(edge: EdgeAnswers, tmp_path: Path) -> None:
    experts, step = make_step(edge, SETTINGS)
    before = step(0)[0].item()
    train_ungated_experts(experts, step, SETTINGS, tmp_path / "calls", Processes())
    assert step(0)[0].item() < 0.95 * before, "of the same calls"
    again, step = make_step(edge, SETTINGS)
    assert train_ungated_experts(again, step, SETTINGS, tmp_path / "calls", Processes()) == []
    torch.testing.assert_close(again.b["down"], experts.b["down"])


def test_penalty_keeps_what_the_choice_head_reads(edge: EdgeAnswers, tmp_path: Path) -> None:
    drifts = []
    for steady in (0.0, 30.0):
        settings = replace(SETTINGS, steady=steady)
        experts, step = make_step(edge, settings)
        train_ungated_experts(experts, step, settings, tmp_path / str(steady), Processes())
        drift = 0.0
        layer = LastLayer(edge.model, edge.chat.tokenizer, settings.longest_request)
        for call in make_draws(settings).draw(0, "validation"):
            request = step.encode(call)[0]
            with torch.no_grad(), layer.observed() as seen:
                edge.logits(AnswerBatch.of([(request, [0])]), experts(experts.whole_gates))
            now = seen[0][0, len(request) - 1]
            drift += (now - layer.read([call.request])[0].float()).square().mean().item()
        drifts.append(drift)
    assert drifts[1] < 0.5 * drifts[0]


def test_arguments_are_read_where_they_are_written(edge: EdgeAnswers) -> None:
    _, step = make_step(edge, SETTINGS)
    read = step.read_arguments(2)
    calls = [call for number in (0, 1) for call in make_draws().draw(FIRST_ARGUMENT_DRAW + number)]
    assert len(read) == sum(len(step.encode(call)[2]) for call in calls)
    request, beginning, _ = step.encode(calls[0])
    with torch.no_grad(), step._layer.observed() as seen:
        edge.logits(AnswerBatch.of([(request + beginning, [0])]), None)
    torch.testing.assert_close(read[0].float(), seen[0][0, len(request + beginning) - 1], rtol=1e-2, atol=1e-2)
