"""Each attempt leaves one record, however it ends."""

import asyncio

import pytest

from edge_runtime.errors import UpdateError
from edge_runtime.telemetry import Telemetry, UpdateRecord
from edge_runtime.updates.attempts import Attempts
from tests.edge_runtime.fakes import FakeClock


class Recording(Telemetry):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[UpdateRecord] = []

    def update_finished(self, record: UpdateRecord) -> None:
        self.records.append(record)


def test_attempt_that_goes_well_is_recorded_with_its_details() -> None:
    clock, telemetry = FakeClock(), Recording()
    with Attempts("default", clock, telemetry).recorded("fetch", "router", "1" * 64) as record:
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
def test_attempt_that_fails_is_recorded_with_its_reason(error: BaseException, outcome: str, message: str) -> None:
    telemetry = Recording()
    with pytest.raises(type(error)), Attempts("default", FakeClock(), telemetry).recorded("merge", "router"):
        raise error
    assert [(record.outcome, record.message) for record in telemetry.records] == [(outcome, message)]
