"""Answers in a batch: which of them greedy decoding gives, and what they cost."""

import torch

from cloud_service.generator.answer_batch import AnswerBatch, answer_logits, answer_loss, answer_losses, exact_answers
from tests.cloud_service.generator.tiny import random_model


def test_an_answer_is_exact_when_greedy_decoding_writes_it() -> None:
    model, question = random_model("llama"), [5, 6, 7]
    written = list(question)
    for _ in range(4):
        written.append(int(model(torch.tensor([written])).logits[0, -1].argmax()))
    greedy = written[len(question) :]
    other = [*greedy[:-1], (greedy[-1] + 1) % 300]
    batch = AnswerBatch.of([(question, greedy), (question, other), ([9, *question], greedy[:1])])
    logits = answer_logits(model, batch)
    assert exact_answers(logits, batch).tolist()[:2] == [True, False]
    losses = answer_losses(logits, batch)
    assert losses[0] < losses[1]
    torch.testing.assert_close(answer_loss(logits, batch), losses.mean())


def test_tokens_of_padding_count_for_nothing() -> None:
    model, rows = random_model("llama"), [([5, 6, 7], [8, 9]), ([5] * 20, [8])]
    alone = AnswerBatch.of(rows[:1])
    together = AnswerBatch.of(rows)
    assert (alone.count, together.count) == (5, 26)
    first = answer_losses(answer_logits(model, together), together)[0]
    torch.testing.assert_close(first, answer_losses(answer_logits(model, alone), alone)[0], rtol=1e-4, atol=1e-4)
