"""What a device remembers of its attempts."""

from pathlib import Path

from edge_runtime.telemetry import UpdateRecord
from edge_runtime.updates.history import MAX_HISTORY_BYTES, History, read_failures, read_history
from tests.full_disk import read_only_disk

NOW = 1_700_000_000.0


def record(step: str, outcome: str, name: str | None = None) -> UpdateRecord:
    return UpdateRecord(step, outcome, 0.5, "default", name, message=None if outcome == "ok" else "x" * 100)


def test_attempts_are_read_in_order(tmp_path: Path) -> None:
    history = History(tmp_path / "h", lambda: NOW)
    for outcome in ("ok", "canary_failed"):
        history.add(record("attach", outcome, "router"))
    first, second = read_history(tmp_path / "h", 10)
    assert first == {
        "at": "2023-11-14T22:13:20+00:00",
        "step": "attach",
        "outcome": "ok",
        "duration_seconds": 0.5,
        "channel": "default",
        "name": "router",
    }
    assert second["outcome"] == "canary_failed"
    assert read_history(tmp_path / "h", 1) == [second]
    assert read_history(tmp_path / "none", 10) == []


def test_long_outage_is_one_line(tmp_path: Path) -> None:
    history = History(tmp_path / "h", lambda: NOW)
    for outcome in ("ok", "unchanged", *["cloud_unreachable"] * 50, "unchanged", "ok"):
        history.add(record("poll", outcome))
    assert [each["outcome"] for each in read_history(tmp_path / "h", 99)] == ["cloud_unreachable", "unchanged"]


def test_history_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    history = History(tmp_path / "h", lambda: NOW)
    for number in range(5_000):
        history.add(record("merge", "failed", f"n{number}"))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2 * MAX_HISTORY_BYTES + 1_000
    found = read_history(tmp_path / "h", 10_000)
    assert [each["name"] for each in found] == [f"n{number}" for number in range(5_000 - len(found), 5_000)]
    assert len(found) > 1_000


def test_damaged_line_costs_only_itself(tmp_path: Path) -> None:
    history = History(tmp_path / "h", lambda: NOW)
    history.add(record("attach", "ok", "a"))
    with (tmp_path / "h").open("ab") as file:
        file.write(b'{"at": "20\n\xff\xfe\n[1]\n' + b"[" * 100_000 + b"\n")
    history.add(record("attach", "ok", "b"))
    assert [each["name"] for each in read_history(tmp_path / "h", 10)] == ["a", "b"]


def test_disk_that_refuses_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "h").mkdir()
    History(tmp_path / "h", lambda: NOW).add(record("attach", "ok", "a"))
    with read_only_disk():
        History(tmp_path / "g", lambda: NOW).add(record("attach", "ok", "a"))
    assert read_history(tmp_path / "h", 10) == []


def test_failures_are_the_last_that_did_not_end_well(tmp_path: Path) -> None:
    history = History(tmp_path / "h", lambda: NOW)
    for outcome in ("first", "ok", "second", "unchanged", "third", "ok"):
        history.add(record("attach", outcome, "router"))
    assert [each["outcome"] for each in read_failures(tmp_path / "h", 2)] == ["second", "third"]
    assert read_failures(tmp_path / "none", 2) == []
