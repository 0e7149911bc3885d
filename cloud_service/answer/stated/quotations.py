"""Rule: quotations and symbols are one character each while a text is searched, so that their commas separate nothing.

Such a character stands for the quotation in the private use area of Unicode. Items of a list of lines are quotations,
too: the list becomes a part of the sentence before it. So are a.m. and p.m., whose points end no sentence.
"""

import re
from collections.abc import Sequence

MASK = re.compile(r"[\uE000-\uF8FF]")
"""What a quotation or a symbol is replaced by."""

_QUOTED = re.compile(
    r"\"([^\"\n]+)\"|“([^”\n]+)”|`([^`\n]+)`|(?<!\w)'([^'\n]+)'(?!\w)|„([^“”\n]+)[“”]|«([^»\n]+)»"
    r"|((?:[\u2191\u2193\u2300-\u23FF\u2600-\u27BF\u2B00-\u2BFF\U0001F000-\U0001FAFF][\uFE0E\uFE0F\u200D]*)+)"
    r"|(?<!\S)([<>=])(?= (?:if|when|for)\b)|(?<![\w.])(?<!\d )([AaPp]\.[Mm]\.)(?!\w)"
)
_FIRST_MASK = 0xE000
"""Stands for the first quotation of a text, the next character for the second."""

_BULLETS = re.compile(r"(?<=[:?])[ ]*\n((?:[ ]*(?:[-*•]|\d+[.)]) [^\n]+(?:\n|$))+)")
_DEFINITIONS = re.compile(r"(?<=:)[ ]*\n((?:[^\n:]{1,40}?(?::| [-–—=]) [^\n]+(?:\n|$)){2,})")


def without_masks(text: str) -> str:
    """A text without the characters that stand for quotations."""
    return MASK.sub(" ", text)


def mask(text: str) -> tuple[str, list[str]]:
    """The text with a character for each quotation, and the quotations."""
    text = _DEFINITIONS.sub(_in_a_line, _BULLETS.sub(_in_a_line, text))
    quotations: list[str] = []

    def replace(match: re.Match[str]) -> str:
        quotations.append(next(group for group in match.groups() if group is not None).strip())
        return chr(_FIRST_MASK + len(quotations) - 1)

    return _QUOTED.sub(replace, text), quotations


def unmask(member: str, quotations: Sequence[str]) -> str:
    """A part of a masked text as it stands in the text itself."""
    return MASK.sub(lambda m: quotations[ord(m[0]) - _FIRST_MASK], member)


def _in_a_line(match: re.Match[str]) -> str:
    """A list of lines as one of quotations, without what explains an item after a colon or a dash."""
    lines = [re.sub(r"^\s*(?:[-*•]|\d+[.)]) ", "", line) for line in match[1].splitlines()]
    items = [re.split(r":|\s[-–—=]\s|\s\(", line, maxsplit=1)[0].strip(" .;,*\"'`") for line in lines]
    return (
        match[0]
        if any("," in item or '"' in item for item in items)
        else " " + ", ".join(f'"{i}"' for i in items) + ".\n"
    )
