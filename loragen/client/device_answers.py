"""What the models of a device answer, as immutable values. Fields that a later device adds are ignored."""

from collections.abc import Mapping

from loragen.answer_model import AnswerModel


class Usage(AnswerModel):
    """Token counts of one answer; `cached_tokens` of the prompt were not computed again."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class Completion(AnswerModel):
    """One answer of a model.

    Attributes:
        finish_reason: `stop`, or `length` when the answer was cut.
        fingerprint: The revision that answered.
        choice_probabilities: How likely the model takes each choice, where that was asked for.
    """

    text: str
    finish_reason: str
    usage: Usage
    fingerprint: str = ""
    choice_probabilities: Mapping[str, float] | None = None


class TextChunk(AnswerModel):
    """The next piece of an answer; the last pieces have a reason for the end, and the token counts."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
