"""What the process died of is known after the restart, and is not done for ever."""

import json
from pathlib import Path

import pytest

from edge_runtime.errors import DeadlyAttemptError
from edge_runtime.updates.journal import MAX_DEATHS, Journal
from tests.full_disk import full_disk

ATTEMPT = ("attach", "router", "1" * 64)
OTHER = ("merge", "other", "2" * 64)


def test_attempt_that_ends_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.json")
    journal.begin(*ATTEMPT)
    journal.end(*ATTEMPT)
    assert Journal(tmp_path / "journal.json").deaths(*ATTEMPT) == 0


def test_attempt_in_which_the_process_dies_is_refused_in_the_end_and_then_tried_again(tmp_path: Path) -> None:
    for deaths in range(MAX_DEATHS):
        journal = Journal(tmp_path / "journal.json")
        assert journal.deaths(*ATTEMPT) == deaths
        journal.begin(*OTHER)
        journal.begin(*ATTEMPT)
        journal.end(*OTHER)
    journal = Journal(tmp_path / "journal.json")
    assert journal.deaths(*OTHER) == 0
    with pytest.raises(DeadlyAttemptError, match="3 times in a row during the step 'attach'"):
        journal.begin(*ATTEMPT)
    journal.begin("attach", "router", "3" * 64)
    assert Journal(tmp_path / "journal.json").deaths(*ATTEMPT) == 0


def test_deaths_count_in_a_row_only(tmp_path: Path) -> None:
    for _ in range(2):
        Journal(tmp_path / "journal.json").begin(*ATTEMPT)
    Journal(tmp_path / "journal.json").begin(*OTHER)
    assert Journal(tmp_path / "journal.json").deaths(*ATTEMPT) == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"format": 2, "begun": ["attach router x"], "deaths": {"attach router x": 9}}',
        b'{"format": 1, "begun": ["x"], "deaths": []}',
        b'{"format": 1, "begun": 5, "deaths": {}}',
        b'{"format": 1, "begun": ["x"], "deaths": {"x": "many"}}',
        b'{"format": 1, "begun": ["x"], "deaths": {"x": 1e400}}',
        b"[" * 100_000,
        b"\xff" * 100,
        b" " * 2_000_000,
    ],
)
def test_file_that_is_no_journal_counts_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.json"
    path.write_bytes(content)
    journal = Journal(path)
    journal.begin(*ATTEMPT)
    assert json.loads(path.read_bytes())["begun"] == [" ".join(ATTEMPT)]
    assert journal.deaths(*ATTEMPT) == 0


def test_disk_that_takes_no_journal_stops_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.json")
    with full_disk(10):
        journal.begin(*ATTEMPT)
        journal.end(*ATTEMPT)
    Journal(tmp_path / "gone" / "journal.json").begin(*ATTEMPT)
