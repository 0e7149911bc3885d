"""Batches of questions with their answers, and the loss on answers, the same wherever the edge model is tuned on them.

Only answer tokens count, each answer alike, however long it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True)
class AnswerBatch:
    """Rows of ids, padded on the right, and where the answers stand.

    Attributes:
        ids: (rows, longest) int64.
        rows, places: (answer tokens,) int64: ids[rows, places] predict `targets`.
        targets: (answer tokens,) int64.
        count: Tokens that are not padding.
    """

    ids: Tensor
    rows: Tensor
    places: Tensor
    targets: Tensor
    count: int

    @classmethod
    def of(cls, encoded: Sequence[tuple[list[int], list[int]]], multiple: int = 8) -> Self:
        """A batch of ids, each row a question and its answer; the longest row is padded to a multiple, too."""
        longest = -(-max(len(q) + len(a) for q, a in encoded) // multiple) * multiple
        ids = torch.zeros(len(encoded), longest, dtype=torch.long)
        rows: list[int] = []
        places: list[int] = []
        targets: list[int] = []
        for row, (question, answer) in enumerate(encoded):
            ids[row, : len(question) + len(answer)] = torch.tensor(question + answer)
            rows += [row] * len(answer)
            places += range(len(question) - 1, len(question) + len(answer) - 1)
            targets += answer
        return cls(
            ids,
            torch.tensor(rows),
            torch.tensor(places),
            torch.tensor(targets),
            sum(len(q) + len(a) for q, a in encoded),
        )

    def only(self, counts: Sequence[bool]) -> Self:
        """The same rows, with those answer tokens alone that count; `counts` has a value for each of them."""
        kept = torch.tensor(counts, dtype=torch.bool)
        return replace(self, rows=self.rows[kept], places=self.places[kept], targets=self.targets[kept])

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        ids, rows, places, targets = (each.to(device) for each in (self.ids, self.rows, self.places, self.targets))
        return type(self)(ids, rows, places, targets, self.count)


def answer_logits(model: PreTrainedModel, batch: AnswerBatch) -> Tensor:
    """Logits of the answer tokens, (answer tokens, vocabulary) float32; the head is spared everywhere else."""
    states = model.get_decoder()(input_ids=batch.ids, use_cache=False).last_hidden_state
    return state_logits(model, states[batch.rows, batch.places])


def state_logits(model: PreTrainedModel, states: Tensor) -> Tensor:
    """Logits (..., vocabulary) float32 of final states (..., hidden), behind the last norm."""
    logits: Tensor = model.get_output_embeddings()(states).float()
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return cap * torch.tanh(logits / cap) if cap else logits


def answer_loss(logits: Tensor, batch: AnswerBatch) -> Tensor:
    """Cross entropy, averaged within each answer, then over answers."""
    return answer_losses(logits, batch).mean()


def answer_losses(logits: Tensor, batch: AnswerBatch) -> Tensor:
    """Cross entropy of each answer, averaged over its tokens, (rows,)."""
    losses = nn.functional.cross_entropy(logits, batch.targets, reduction="none")
    lengths = torch.bincount(batch.rows, minlength=len(batch.ids)).clamp(min=1)
    return losses.new_zeros(len(batch.ids)).index_add(0, batch.rows, losses / lengths[batch.rows])


def exact_answers(logits: Tensor, batch: AnswerBatch) -> Tensor:
    """Whether greedy decoding gives each answer exactly, (rows,) bool.

    It does when each of its tokens, its end included, is the likeliest one after the tokens before it.
    """
    wrong = (logits.argmax(-1) != batch.targets).float()
    return wrong.new_zeros(len(batch.ids)).index_add(0, batch.rows, wrong) == 0
