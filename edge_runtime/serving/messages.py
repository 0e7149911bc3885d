"""Messages of a chat as requests have them. What a model sees of each is `serving.chat_prompt`'s."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.chat import ChatMessage, FunctionCall
from edge_runtime.serving.neutral_fields import MESSAGE, MESSAGE_HINTS, verify_neutral
from edge_runtime.serving.request_objects import Fields, OpenFields
from loragen.contract.answer import FUNCTION_NAME_PATTERN
from loragen.web.body_fields import Text

MAX_PARTS = 256
"""In one message."""

MAX_CALLS = 64
"""In one message."""


class TextPart(BaseModel):
    """A part of a message's content; only text is understood."""

    type: Literal["text"]
    text: Text


class FunctionCallBody(Fields):
    """A function and the arguments of its call, JSON as text."""

    name: Annotated[str, Field(pattern=FUNCTION_NAME_PATTERN)]
    arguments: Text = "{}"


class CallBody(Fields):
    """A call that an earlier answer made."""

    id: Annotated[str, Field(max_length=256)] = ""
    type: Literal["function"] = "function"
    function: FunctionCallBody


class MessageBody(OpenFields):
    """One message; a content in parts is joined. An answer that was a call needs no content."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[TextPart], Field(max_length=MAX_PARTS, fail_fast=True)] | None = None
    tool_calls: list[CallBody] = Field(default=[], max_length=MAX_CALLS, fail_fast=True)
    tool_call_id: Annotated[str, Field(max_length=256)] = ""

    def to_message(self, called: Mapping[str, str] | None = None) -> ChatMessage:
        """The message with one text; `developer` is OpenAI's newer word for `system`.

        Args:
            called: Names of functions, by the ids of the calls before.

        Raises:
            InvalidRequestError: It has no content, or asks for something that is not supported.
        """
        verify_neutral(self.model_extra, MESSAGE, MESSAGE_HINTS)
        if self.tool_calls and self.role != "assistant":
            raise InvalidRequestError(
                f"messages: 'tool_calls' of the role {self.role!r}; only 'assistant' calls",
                "the result of a call is a message of the role 'tool' with 'tool_call_id' and 'content'",
                field="messages",
            )
        if self.content is None and not self.tool_calls:
            raise InvalidRequestError(
                f"messages: the content of a message of the role {self.role!r} is missing",
                "send a text; where a function returns nothing, an empty one",
                field="messages",
            )
        content = self.content or ""
        return ChatMessage(
            "system" if self.role == "developer" else self.role,
            content if isinstance(content, str) else "".join(part.text for part in content),
            tuple(FunctionCall(call.function.name, call.function.arguments) for call in self.tool_calls),
            (called or {}).get(self.tool_call_id, "") if self.role == "tool" else "",
        )


def to_messages(bodies: Sequence[MessageBody]) -> tuple[ChatMessage, ...]:
    """The messages of a chat; each result of a call knows the function that was called.

    Raises:
        InvalidRequestError: As `MessageBody.to_message`.
    """
    called = {call.id: call.function.name for body in bodies for call in body.tool_calls}
    return tuple(body.to_message(called) for body in bodies)
