"""Rule: the prompt that a model's chat template makes of a chat.

- A chat without tools is rendered as in training (`loragen.contract.chat_format`). Calls that stand in it are text
  where the weights were made to call functions. Any other model gets calls and results as its template writes them, or
  where that knows none, results in words (`serving.results_in_words`).
- With tools the template gets them, and the calls and results of the conversation as such. For a template that knows no
  calls they become a system message and text, in the form that most models have met.
- Messages of a role that a template refuses become the user's.
- What a client wrote can be marked before it is rendered, so that its control tokens differ from the template's.
"""

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from edge_runtime.serving.call_forms import HERMES_FORM, OWN_FORM, CallForm
from edge_runtime.serving.chat import ChatMessage, Rendering
from edge_runtime.serving.results_in_words import with_instruction, with_results_in_words
from loragen.contract.chat_format import render_chat

Mark = Callable[[str], str]


class Template(Protocol):
    """A model's chat template."""

    @property
    def call_form(self) -> CallForm | None:
        """How it writes calls; None when it knows none."""
        ...

    @property
    def bos_text(self) -> str:
        """The token that begins every text; empty for none."""
        ...

    def apply_template(self, messages: Sequence[Mapping[str, Any]], answer: bool, **variables: Any) -> str:
        """Render messages, and the beginning of an answer; what the template raises goes through."""
        ...


def call_form_of(template: Template) -> CallForm:
    """How a model writes calls of the tools that a request brings."""
    return template.call_form or HERMES_FORM


def chat_prompt(
    template: Template, messages: Sequence[ChatMessage], rendering: Rendering, mark: Mark = str, own_calls: bool = False
) -> str:
    """The prompt of a chat.

    Args:
        template: The model's.
        messages: At least one.
        rendering: What the template is given besides.
        mark: Applied to each text that a client wrote.
        own_calls: The weights were made to call functions, in this project's form.

    Raises:
        Exception: Whatever the template raises.
    """
    tools = [json.loads(tool) for tool in rendering.tools]
    knows_calls = template.call_form is not None
    if tools and not knows_calls:
        messages, tools = _with_tools_in_words(messages, rendering.tools), []
    if rendering.tools and not knows_calls:
        messages = [message_as_text(message, HERMES_FORM) for message in messages]
    elif own_calls and not tools:
        messages = [message_as_text(message) for message in messages]
    elif not knows_calls:
        messages = [message_as_text(message) for message in with_results_in_words(messages)]
    variables = json.loads(rendering.variables)
    while True:
        try:
            return _render(template, *_marked([_all_fields(messages), tools, variables], mark))
        except Exception:  # a template is a program of the model's maker: it may raise anything
            if (folded := _folded(messages, shows_tools=bool(tools))) is None:
                raise
            messages = folded


def message_as_text(message: ChatMessage, form: CallForm = OWN_FORM) -> ChatMessage:
    """The message with its calls as a part of its text."""
    calls = (f"{form.opening}{form.text_of(call)}{form.closing}" for call in message.calls)
    return ChatMessage(message.role, "\n".join(filter(None, (message.content, *calls))))


def _render(
    template: Template, messages: list[dict[str, Any]], tools: list[dict[str, Any]], variables: dict[str, Any]
) -> str:
    if tools:
        # Where tools are, the system message that the template adds by itself introduces them.
        return template.apply_template(messages, True, **variables, tools=tools)
    return render_chat(
        lambda each, answer: template.apply_template(each, answer, **variables), messages, template.bos_text
    )


def _all_fields(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """Messages as templates know them. Calls have ids of nine letters, as Mistral's wants; results follow in order."""
    found, open_calls, count = [], deque[str](), 0
    for message in messages:
        fields: dict[str, Any] = {"role": message.role, "content": message.content}
        if message.name:
            fields["name"] = message.name
        if message.role == "tool" and open_calls:
            fields["tool_call_id"] = open_calls.popleft()
        if message.calls:
            ids = [f"call{count + number:05}" for number in range(len(message.calls))]
            fields["tool_calls"] = [
                {"type": "function", "id": name, "function": {"name": c.name, "arguments": _object_of(c.arguments)}}
                for name, c in zip(ids, message.calls, strict=True)
            ]
            open_calls, count = deque(ids), count + len(ids)
        found.append(fields)
    return found


def _object_of(arguments: str) -> Any:
    try:
        value = json.loads(arguments)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate, which marks are made of, stays an escape
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments


def _marked(value: Any, mark: Mark) -> Any:
    """JSON with all its texts marked, also those that are keys."""
    if isinstance(value, str):
        return mark(value)
    if isinstance(value, list):
        return [_marked(each, mark) for each in value]
    if isinstance(value, dict):
        return {mark(key): _marked(each, mark) for key, each in value.items()}
    return value


def _with_tools_in_words(messages: Sequence[ChatMessage], tools: Sequence[str]) -> list[ChatMessage]:
    form = HERMES_FORM
    shape = f'{form.opening}{{"name": NAME, "{form.key}": {{...}}}}{form.closing}'
    text = "\n".join(
        (
            "You may call functions. These are there, one a line:",
            *tools,
            "To call one, write this and nothing else, with its name and a JSON object of its arguments:",
            shape,
        )
    )
    return with_instruction(messages, text)


def _folded(messages: Sequence[ChatMessage], shows_tools: bool) -> list[ChatMessage] | None:
    """The messages with fewer roles; None when nothing is left to be folded."""
    if not shows_tools and any(message.calls for message in messages):  # some know no calls without tools
        return [message_as_text(message) for message in with_results_in_words(messages)]
    if any(message.role == "tool" for message in messages):  # many know no results of calls
        return [ChatMessage("user", m.content) if m.role == "tool" else m for m in messages]
    if [message.role for message in messages[:2]] == ["system", "user"]:  # Gemma's knows no system role
        system, user, *others = messages
        return [ChatMessage("user", f"{system.content}\n\n{user.content}"), *others]
    return None
