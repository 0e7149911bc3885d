"""When a failed call is tried again."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragen.client.errors import RemoteError
from loragen.client.retries import (
    DISCONNECTED,
    LONGEST_RETRY_AFTER_SECONDS,
    UNREACHABLE,
    Deadline,
    parse_retry_after,
    pause_before_retry,
)

NOW = 1_700_000_000.0


def overloaded(status: int = 503, retry_after: float | None = None) -> RemoteError:
    return RemoteError("full", code="overloaded", status=status, retry_after_seconds=retry_after)


@pytest.mark.parametrize(
    ("error", "repeatable", "pause"),
    [
        (overloaded(503, 7), False, 7),
        (overloaded(429, 7), False, 7),
        (overloaded(503), False, True),
        (overloaded(503, 31), True, False),
        (overloaded(500, 1), True, False),
        (overloaded(422), True, False),
        (RemoteError("", code=UNREACHABLE), False, True),
        (RemoteError("", code=DISCONNECTED), True, True),
        (RemoteError("", code=DISCONNECTED), False, False),
        (RemoteError("", code="timeout"), True, False),
        (RemoteError("", code="integrity"), True, False),
        (ValueError(), True, False),
    ],
)
def test_pause_follows_from_the_error_and_the_time_left(
    error: Exception, repeatable: bool, pause: bool | float
) -> None:
    found = pause_before_retry(error, repeatable=repeatable, remaining_seconds=30)
    assert (found, type(found)) == (pause, type(pause))
    assert pause_before_retry(error, repeatable=repeatable, remaining_seconds=0) is False


def test_deadline_ends_with_a_timeout() -> None:
    now = 100.0
    deadline = Deadline(3, lambda: now)
    now = 102.0
    deadline.verify()
    assert deadline.remaining_seconds == 1
    now = 103.0
    with pytest.raises(RemoteError, match="within 3 s") as caught:
        deadline.verify()
    assert caught.value.code == "timeout"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("9" * 30, LONGEST_RETRY_AFTER_SECONDS),
        (formatdate(NOW + 90, usegmt=True), 90.0),
        (formatdate(NOW - 90, usegmt=True), 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("Fri, 99 Foo 2024 99:99:99 GMT", None),
    ],
)
def test_both_forms_of_retry_after(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


@given(st.text(max_size=60))
def test_no_header_breaks_the_parser(text: str) -> None:
    seconds = parse_retry_after(text, NOW)
    assert seconds is None or seconds >= 0
