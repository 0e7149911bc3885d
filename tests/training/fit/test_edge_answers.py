"""The loss on answers: only their tokens count, and each answer alike."""

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from cloud_service.generator.answer_batch import AnswerBatch, answer_loss
from cloud_service.generator.edge import edge_shape
from tests.training.models import tiny_model
from training.data.episodes import Instance
from training.fit.generator import (
    EdgeAnswers,
    GeneratorSettings,
)

SETTINGS = GeneratorSettings(steps=4, tasks=3, inputs=2, warmup=1, longest_prompt=300, longest_turn=80)


INSTANCES = [Instance("wake me at seven", "set_alarm"), Instance("hi", "yes"), Instance("what is it now", "12:30 pm")]


@pytest.fixture
def edge(tokenizer: PreTrainedTokenizerFast) -> EdgeAnswers:
    return EdgeAnswers(tiny_model(tokenizer, 2), tokenizer, longest=80, dtype=torch.float32)


def some_factors(model: LlamaForCausalLM, tasks: int) -> dict[tuple[int, str], tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    factors = {}
    for key in edge_shape(model.config).blocks():
        size_in, size_out = edge_shape(model.config).in_out(key[1])
        factors[key] = (torch.randn(tasks, 2, size_in) * 0.3, torch.randn(tasks, size_out, 2) * 0.3)
    return factors


def test_loss_is_the_mean_over_answers_of_their_mean_over_tokens(
    edge: EdgeAnswers, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Against transformers' own loss, one unpadded conversation at a time, with the question masked."""
    batch = edge.chat.batch(INSTANCES, [None, "Answer.", None])
    with torch.inference_mode():
        loss = answer_loss(edge.logits(batch, None), batch)
        expected = []
        for instance, system in zip(INSTANCES, (None, "Answer.", None), strict=True):
            question, answer = edge.chat.question(instance.input, system), edge.chat.answer(instance.output)
            labels = torch.tensor([[-100] * len(question) + answer])
            expected.append(edge.model(input_ids=torch.tensor([question + answer]), labels=labels).loss)
    torch.testing.assert_close(loss, torch.stack(expected).mean(), rtol=1e-5, atol=1e-6)


def test_loss_does_not_see_padding(edge: EdgeAnswers) -> None:
    """Other tokens behind each answer, and more of them, change nothing."""
    batch = edge.chat.batch(INSTANCES, [None] * 3)
    factors = some_factors(edge.model, tasks=3)
    with torch.inference_mode():
        logits = edge.logits(batch, factors)
        noise = torch.randint(0, 300, (3, batch.ids.shape[1] + 16))
        for row in range(3):
            end = int(batch.places[batch.rows == row].max()) + 2
            noise[row, :end] = batch.ids[row, :end]
        other = edge.logits(AnswerBatch(noise, batch.rows, batch.places, batch.targets, batch.count), factors)
    torch.testing.assert_close(other, logits, rtol=1e-5, atol=1e-5)


def test_only_logits_of_answer_tokens_carry_the_loss(edge: EdgeAnswers) -> None:
    """Of the next-token predictions of a row, exactly those of the answer have a gradient."""
    batch = edge.chat.batch(INSTANCES, [None] * 3)
    ids = batch.ids
    logits = edge.model(input_ids=ids).logits.detach().requires_grad_()
    answer_loss(logits[batch.rows, batch.places], batch).backward()
    assert logits.grad is not None
    carrying = logits.grad.abs().sum(-1) > 0
    expected = torch.zeros_like(carrying)
    for row, instance in enumerate(INSTANCES):
        start = len(edge.chat.question(instance.input))
        expected[row, start - 1 : start - 1 + len(edge.chat.answer(instance.output))] = True
    assert torch.equal(carrying, expected)


def test_every_answer_weighs_the_same_however_long(edge: EdgeAnswers) -> None:
    """With even logits each token costs log V: one answer of nine tokens and one of two average to the same."""
    batch = edge.chat.batch(INSTANCES, [None] * 3)
    even = torch.zeros(len(batch.targets), 50)
    small = AnswerBatch(batch.ids, batch.rows, batch.places, batch.targets % 50, batch.count)
    torch.testing.assert_close(answer_loss(even, small), torch.log(torch.tensor(50.0)))
    wrong = even.clone().requires_grad_()
    answer_loss(wrong, small).backward()
    assert wrong.grad is not None
    by_answer = [wrong.grad[batch.rows == row].abs().sum().item() for row in range(3)]
    assert by_answer == pytest.approx([by_answer[0]] * 3, rel=1e-4)


def test_capped_logits_are_those_of_the_model(edge: EdgeAnswers) -> None:
    """Gemma 2 bends its logits after the head; the shortcut over answer tokens must, too."""
    batch = edge.chat.batch(INSTANCES, [None] * 3)
    with torch.inference_mode():
        plain = edge.logits(batch, None)
        edge.model.config.final_logit_softcapping = 2.0
        capped = edge.logits(batch, None)
    torch.testing.assert_close(capped, 2.0 * torch.tanh(plain / 2.0))
