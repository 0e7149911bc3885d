"""Which control tokens of a rendered chat are the template's own, and which are only spelled by a message.

A chat template is a program: it may trim, join or inspect messages, so that its output does not show which part came
from where. Therefore each control token in a message is marked before rendering. The marks travel through the
template with the text. Every control token that is unmarked afterwards is the template's own, even one that it put
together from parts.

Rules: a message without control tokens stays as it is. Taking the marks out gives the message back. The time hardly
depends on the number of control tokens, because a device answers no other request meanwhile. Both sides mark alike,
so that training and device see the same ids. Which tokens a text becomes is left to them.
"""

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

_MARK = "\ud800"
"""A lone surrogate: no text that came in as UTF-8 has one."""


class ControlMarkup:
    """The spelling of a vocabulary's control tokens.

    Args:
        spellings: One for each control token, such as `<|end|>`.
    """

    def __init__(self, spellings: Iterable[str]) -> None:
        known = _longest_of(set(filter(None, spellings))) or "(?!)"  # without any, nothing matches
        self._beginning = re.compile(f"(?={known})")
        self._unmarked = re.compile(f"(?<!{_MARK})({known})")

    def mark(self, text: str) -> str:
        """`text` with a mark before each control token that it spells, overlapping ones included."""
        return self._beginning.sub(_MARK, text)

    def is_marked(self, prompt: str) -> bool:
        """Whether the messages of a prompt spell any control token."""
        return _MARK in prompt

    def split(self, prompt: str) -> Iterator[tuple[str, bool]]:
        """The parts of a prompt made of marked messages, without the marks, and whether each is a control token."""
        for index, part in enumerate(self._unmarked.split(prompt)):
            yield part.replace(_MARK, ""), index % 2 == 1


def _longest_of(spellings: Collection[str]) -> str:
    """The pattern of the longest of `spellings` that begins at a place; what they begin with alike is compared once."""
    shared = os.path.commonprefix(list(spellings))  # noqa: RUF071 - these are no paths
    rests: dict[str, list[str]] = defaultdict(list)
    for spelling in spellings:
        rest = spelling.removeprefix(shared)
        rests[rest[:1]].append(rest)
    may_end = "?" if rests.pop("", None) else ""
    branches = "|".join(map(_longest_of, rests.values()))
    return re.escape(shared) + (f"(?:{branches}){may_end}" if branches else "")
