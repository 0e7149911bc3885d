"""What is not seen on a screen is written out, and nothing else changes."""

import pytest

from loragen.visible_text import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb\x9b2J", "a\\rb\\x9b2J"),
        ("safe\u202egnp.exe", "safe\\u202egnp.exe"),
        ("line\n\tnext é 漢 \U0001f600 [bold]", "line\n\tnext é 漢 \U0001f600 [bold]"),
        (17, "17"),
    ],
)
def test_unseen_characters_are_written_out(text: object, shown: str) -> None:
    assert visible(text) == shown
