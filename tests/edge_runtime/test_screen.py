"""What people see: nothing that came from elsewhere is taken for markup, and unknown figures stay empty."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime import screen
from edge_runtime.merge.merger import MergeReport
from loragen.device_answers import DeviceStatus, ServedModel

STATUS = DeviceStatus("dev", "0", "tiny", "Q4_K", True, "default", channel_version=7, last_poll="unchanged")


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_line_and_warning_go_where_programs_look_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_line("[bold]x" * 50)
    screen.warn("[red]y")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("[bold]x" * 50 + "\n", "[red]y\n"), "one line, however wide the terminal"


def test_attempts_are_a_table_with_short_ids_or_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_attempts([])
    assert capsys.readouterr().out == "Nothing was tried yet.\n"
    screen.show_attempts([{"at": "noon", "step": "fetch", "bundle_id": "ab" * 32, "message": "[bold]bad"}])
    table = capsys.readouterr().out
    assert "[bold]bad" in table
    assert "ab" * 6 in table
    assert "ab" * 7 not in table


def test_status_has_figures_where_they_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    merged = ServedModel("mails", "merged", "ab" * 32, merge_seconds=1.5, retained_delta=0.98765, pinned=True)
    screen.show_status(replace(STATUS, models=(merged, ServedModel("late", "pending", message="[on] its way"))))
    text = capsys.readouterr().out
    for part in ("dev: ready", "tiny as Q4_K", "version 7", "merged, pinned", "0.9877", "1.50 s", "[on] its way"):
        assert part in text
    assert "None" not in text


def test_terminal_obeys_nothing_that_came_over_a_network(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2Jgone\x07"
    model = ServedModel("mails", "failed", message=evil)
    screen.show_status(replace(STATUS, models=(model,), last_poll_message=evil, problem=evil))
    screen.show_attempts([{"at": "noon", "step": evil, "message": evil}])
    screen.show_line(evil)
    screen.warn(evil)
    shown = capsys.readouterr()
    assert not {"\x1b", "\x07"} & set(shown.out + shown.err)
    assert (shown.out + shown.err).count("\\x1b[2Jgone") == 7


def test_status_that_is_not_ready_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_status(replace(STATUS, ready=False, reason="no model yet", last_poll="", problem="disk is full"))
    text = capsys.readouterr().out
    assert "dev: no model yet" in text
    assert "last poll none yet" in text
    assert "disk is full" in text


def test_device_that_has_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_state(None, "state.json: damaged")
    assert capsys.readouterr().out == "state.json: damaged\nNothing is installed.\n"


def test_merge_counts_types(capsys: pytest.CaptureFixture[str]) -> None:
    types = {"a": "Q4_K", "b": "Q4_K", "c": "Q6_K"}
    retained = {"a": 0.9, "b": 1.0, "c": 0.95}
    screen.show_merge(Path("out.gguf"), MergeReport("ab" * 32, 1.5, 2_000_000, retained, types, "Q4_K", "larger"))
    text = capsys.readouterr().out
    for part in ("out.gguf", "1.50", "2.0 MB", "0.9000 at least, 0.9500 on average", "2 x Q4_K, 1 x Q6_K", "larger"):
        assert part in text
