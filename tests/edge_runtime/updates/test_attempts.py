"""Each attempt leaves one record, however it ends."""

import asyncio
from pathlib import Path

import pytest

from edge_runtime.errors import DeadlyAttemptError, UpdateError
from edge_runtime.telemetry import Telemetry, UpdateRecord
from edge_runtime.updates.attempts import Attempts
from edge_runtime.updates.journal import MAX_DEATHS, Journal
from tests.edge_runtime.fakes import FakeClock


class Recording(Telemetry):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[UpdateRecord] = []

    def update_finished(self, record: UpdateRecord) -> None:
        self.records.append(record)


def attempts(tmp_path: Path, telemetry: Telemetry, clock: FakeClock | None = None) -> Attempts:
    return Attempts("default", clock or FakeClock(), telemetry, Journal(tmp_path / "journal.json"))


def test_attempt_that_goes_well_is_recorded_with_its_details(tmp_path: Path) -> None:
    clock, telemetry = FakeClock(), Recording()
    with attempts(tmp_path, telemetry, clock).recorded("fetch", "router", "1" * 64) as record:
        clock.advance(2.5)
        record(source="recipe")
    assert telemetry.records == [UpdateRecord("fetch", "ok", 2.5, "default", "router", "1" * 64, source="recipe")]


@pytest.mark.parametrize(
    ("error", "outcome", "message"),
    [
        (UpdateError("not there", "wait"), "update_failed", "not there; hint: wait"),
        (RuntimeError("a bug"), "internal_error", "RuntimeError: a bug"),
        (asyncio.CancelledError(), "cancelled", None),
    ],
)
def test_attempt_that_fails_is_recorded_with_its_reason(
    error: BaseException, outcome: str, message: str, tmp_path: Path
) -> None:
    telemetry = Recording()
    with pytest.raises(type(error)), attempts(tmp_path, telemetry).recorded("merge", "router"):
        raise error
    assert [(record.outcome, record.message) for record in telemetry.records] == [(outcome, message)]


def test_attempt_that_the_process_died_in_too_often_is_not_begun(tmp_path: Path) -> None:
    """It is recorded as any failure; one that ends, with an error or without, is no death."""
    telemetry = Recording()
    for _ in range(MAX_DEATHS):
        with pytest.raises(UpdateError), attempts(tmp_path, telemetry).recorded("merge", "router", "1" * 64):
            raise UpdateError("no")
    for _ in range(MAX_DEATHS):
        died = attempts(tmp_path, telemetry)
        died._journal.begin("merge", "router", "1" * 64)
    again = attempts(tmp_path, telemetry)
    assert again.has_died("merge", "router", "1" * 64)
    with pytest.raises(DeadlyAttemptError), again.recorded("merge", "router", "1" * 64):
        pytest.fail("it was begun")
    assert telemetry.records[-1].outcome == "device_ended"
