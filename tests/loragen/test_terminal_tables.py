"""Tables show what came from elsewhere as it is, and neither obey nor cut it."""

import re

import pytest

from loragen.terminal_tables import print_table


def test_cells_are_text_and_whole_outside_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    long = "why " * 60
    print_table(("name", "message"), [("[red]a", "\x1b[2Jgone"), (None, long), (3, "")], title="t\x1b")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    for part in ("t\\x1b", "[red]a", "\\x1b[2Jgone", long.strip()):
        assert part in shown
    assert "None" not in shown


def test_long_texts_of_the_last_column_have_room_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    print_table([str(i) * 8 for i in range(7)], [["x" * 12] * 6 + ["some words that say why it failed " * 3]])
    rows = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, rows)) <= 60
    assert any("some words that say" in row for row in rows)
