"""The chat format of an edge model: its own chat template, without the system prompt that some templates add.

SmolLM2's and Qwen 2.5's templates begin every conversation that has no system message with one of their own, about 20
tokens which a specialization need not carry. Training, probe and device therefore all render conversations here, so
that a model sees the same text in each. A system message of the request's own stays where the template puts it.
"""

from collections.abc import Callable, Mapping, Sequence

Messages = Sequence[Mapping[str, str]]
"""Each with `role` and `content`."""

Render = Callable[[Messages, bool], str]
"""Renders messages by the model's template; the second argument asks for the beginning of the answer, too."""

_ANY_PROMPT = "Instructions."
_SYSTEM: Messages = ({"role": "system", "content": _ANY_PROMPT},)


def render_chat(render: Render, messages: Messages, bos_token: str) -> str:
    """The prompt that a model answers.

    Args:
        render: The model's template; what it raises goes through.
        messages: At least one.
        bos_token: The model's beginning-of-sequence token; empty when it has none.

    Returns:
        The rendered messages and the beginning of the answer.
    """
    plain = render(messages, True)
    if messages[0]["role"] == "system":
        return plain
    try:
        # A system message is rendered in front of the others, and then taken away with all that stands before it.
        head, whole = render(_SYSTEM, False), render([*_SYSTEM, *messages], True)
    except Exception:  # a template is a program of the model's maker, and some know no system message
        return plain
    conversation = whole.removeprefix(head)
    if conversation == whole or not plain.endswith(conversation):
        return plain
    added = plain.removesuffix(conversation)
    if head.partition(_ANY_PROMPT)[0].startswith(added):  # nothing but the beginning of every text
        return plain
    # SmolLM2 names as its beginning the token that begins every turn: that one is not doubled.
    begins = bos_token and added.startswith(bos_token) and not conversation.startswith(bos_token)
    return bos_token + conversation if begins else conversation
