"""Token ids of what the edge model sees, by its own chat template.

That is the user's input, with or without a system prompt, and the answer.
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from cloud_service.generator.answer_batch import AnswerBatch
from cloud_service.generator.chat_format import answer_ids, answer_spans, question_ids
from cloud_service.generator.residual_prompt import residual_prompt
from cloud_service.task import TaskDescription, residual_texts
from training.data.episodes import Instance


class ChatFormat:
    """Encodes single turns for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, longest: int) -> None:
        self.tokenizer, self._longest = tokenizer, longest

    def question(self, text: str, system: str | None = None) -> list[int]:
        """Ids up to where the answer begins. Without a chat template, a plain layout of lines."""
        return question_ids(self.tokenizer, text, system)

    def residual_prompt(self, task: TaskDescription, longest: int, *, has_codes: bool = False) -> str | None:
        """The system prompt that a specialization for a task keeps; None where it keeps none.

        Args:
            task: What the generator reads.
            longest: The generator's `residual_prompt_tokens`.
            has_codes: The choice head answers; then no examples stay.
        """
        texts = residual_texts(task)
        return residual_prompt(texts[-1:] if has_codes else texts, self.tokenizer, longest)[0] or None

    def answer(self, text: str) -> list[int]:
        """Ids of an answer with its end."""
        return answer_ids(self.tokenizer, text)

    def answer_spans(self, text: str) -> list[tuple[int, int]]:
        """Where the ids of an answer, but for its end, stand in its text: the first character, and the one behind."""
        return answer_spans(self.tokenizer, text)

    def batch(self, instances: Sequence[Instance], systems: Sequence[str | None], multiple: int = 8) -> AnswerBatch:
        """Rows for instances, each with its system prompt or none; a question that is too long loses its beginning."""
        encoded = []
        for instance, system in zip(instances, systems, strict=True):
            answer = self.answer(instance.output)[: self._longest // 2]
            question = self.question(instance.input, system)[-(self._longest - len(answer)) :]
            encoded.append((question, answer))
        return AnswerBatch.of(encoded, multiple)
