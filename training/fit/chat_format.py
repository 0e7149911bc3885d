"""Token ids of what the edge model sees, by its own chat template.

That is the user's input, with or without a system prompt, and the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cloud_service.generator.chat_format import answer_ids, question_ids
from cloud_service.generator.residual_prompt import residual_prompt
from cloud_service.task import TaskDescription, residual_text
from training.data.episodes import Instance


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

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        ids, rows, places, targets = (each.to(device) for each in (self.ids, self.rows, self.places, self.targets))
        return type(self)(ids, rows, places, targets, self.count)


class ChatFormat:
    """Encodes single turns for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, longest: int) -> None:
        self.tokenizer, self._longest = tokenizer, longest

    def question(self, text: str, system: str | None = None) -> list[int]:
        """Ids up to where the answer begins. Without a chat template, a plain layout of lines."""
        return question_ids(self.tokenizer, text, system)

    def residual_prompt(self, task: TaskDescription, longest: int) -> str | None:
        """The system prompt that a specialization for a task keeps; None where it keeps none.

        Args:
            task: What the generator reads.
            longest: The generator's `residual_prompt_tokens`.
        """
        return residual_prompt(residual_text(task), self.tokenizer, longest)[0] or None

    def answer(self, text: str) -> list[int]:
        """Ids of an answer with its end."""
        return answer_ids(self.tokenizer, text)

    def batch(self, instances: Sequence[Instance], systems: Sequence[str | None], multiple: int = 8) -> AnswerBatch:
        """Rows for instances, each with its system prompt or none; a question that is too long loses its beginning."""
        encoded = []
        for instance, system in zip(instances, systems, strict=True):
            answer = self.answer(instance.output)[: self._longest // 2]
            question = self.question(instance.input, system)[-(self._longest - len(answer)) :]
            encoded.append((question, answer))
        return AnswerBatch.of(encoded, multiple)
