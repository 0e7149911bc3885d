"""What the models of a device answer, as immutable values. Fields that a later device adds are ignored."""

import json
from collections.abc import Mapping

from pydantic import AliasPath, Field

from loragen.answer_model import AnswerModel


class Usage(AnswerModel):
    """Token counts of one answer; `cached_tokens` of the prompt were not computed again."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0


class ToolCall(AnswerModel):
    """A call of a function; the arguments are JSON, cut where the answer was."""

    id: str
    name: str = Field(validation_alias=AliasPath("function", "name"))
    arguments: str = Field(validation_alias=AliasPath("function", "arguments"))


class Completion(AnswerModel):
    """One answer of a model.

    Attributes:
        text: Empty when the answer is a call.
        finish_reason: `stop`, `tool_calls`, or `length` when the answer was cut.
        tool_calls: The calls that the answer is.
        fingerprint: The revision that answered.
        choice_probabilities: How likely the model takes each choice, where that was asked for.
    """

    text: str
    finish_reason: str
    usage: Usage
    fingerprint: str = ""
    choice_probabilities: Mapping[str, float] | None = None
    tool_calls: tuple[ToolCall, ...] = ()

    @property
    def as_text(self) -> str:
        """The answer as text: each call is a line of JSON, in the form in which specializations learn to write it."""
        if not self.tool_calls:
            return self.text
        return "\n".join(
            f'{{"name": {json.dumps(call.name, ensure_ascii=False)}, "arguments": {call.arguments}}}'
            for call in self.tool_calls
        )


class TextChunk(AnswerModel):
    """The next piece of an answer; the last pieces have a reason for the end, and the token counts."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
