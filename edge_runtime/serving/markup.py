"""Which control tokens of a rendered chat are the template's own, and which are only spelled by a message.

A chat template is a program: it may trim, join or inspect what the messages say, so that its output alone does not tell
what came from where. Therefore each control token in a message is marked before rendering, the marks travel through the
template with the text, and what is found unmarked afterwards is the template's. Rules: a message without control tokens
is left as it is; taking the marks out gives the message back. What tokens a text becomes is left to the engine.
"""

import re
from collections.abc import Iterable, Iterator

_MARK = "\ud800"
"""A lone surrogate: no text that came in as UTF-8 has one."""


class ControlMarkup:
    """The spelling of a vocabulary's control tokens.

    Args:
        spellings: One for each control token, such as `<|end|>`.
    """

    def __init__(self, spellings: Iterable[str]) -> None:
        # Of two that begin at one place the longer is meant; without any, nothing matches.
        longest_first = sorted(filter(None, spellings), key=len, reverse=True)
        known = "|".join(map(re.escape, longest_first)) or "(?!)"
        self._beginning = re.compile(f"(?={known})")
        self._unmarked = re.compile(f"(?<!{_MARK})({known})")

    def mark(self, text: str) -> str:
        """`text` with a mark before each control token that it spells, overlapping ones included."""
        return self._beginning.sub(_MARK, text)

    def split(self, prompt: str) -> Iterator[tuple[str, bool]]:
        """The parts of a prompt made of marked messages, without the marks, and whether each is a control token."""
        for index, part in enumerate(self._unmarked.split(prompt)):
            yield part.replace(_MARK, ""), index % 2 == 1
