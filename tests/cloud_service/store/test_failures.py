"""A failure of the store: the log has its cause, the client has not."""

import sqlite3

from structlog.testing import capture_logs

from cloud_service.store.failures import StoreFailures


def test_cause_is_logged_once_in_a_while_and_never_shown_to_the_client() -> None:
    failures = StoreFailures("sqlite")
    with capture_logs() as logged:
        errors = [failures.unavailable(sqlite3.OperationalError("disk is full: /data/x")) for _ in range(100)]
        failures.unavailable(TimeoutError(), "no answer")
    assert [(line["cause"], line["reason"]) for line in logged] == [
        ("OperationalError", "disk is full: /data/x"),
        ("TimeoutError", "no answer"),
    ]
    assert not any("full" in f"{error}{error.hint}" for error in errors)
