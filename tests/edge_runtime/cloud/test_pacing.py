"""The rules of waiting."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.cloud.pacing import (
    MAX_BACKOFF_SECONDS,
    MAX_RETRY_AFTER_SECONDS,
    backoff_delay,
    parse_retry_after,
    poll_delay,
)

DRAWS = st.floats(0, 1, exclude_max=True)
NOW = 1_700_000_000.0


@given(draw=DRAWS)
def test_healthy_polls_are_spread_by_a_tenth(draw: float) -> None:
    assert 27.0 <= poll_delay(30.0, 0, None, draw) <= 33.0


@given(failures=st.integers(1, 10_000), draw=DRAWS, first=st.floats(0.1, 86_400))
def test_backoff_stays_within_its_limits(failures: int, draw: float, first: float) -> None:
    assert first / 2 <= backoff_delay(first, failures, draw) <= max(first, MAX_BACKOFF_SECONDS)


def test_backoff_doubles() -> None:
    assert [backoff_delay(10.0, failures, 0.0) for failures in (1, 2, 3, 4)] == [5.0, 10.0, 20.0, 40.0]


def test_retry_after_is_the_least_that_is_waited() -> None:
    assert poll_delay(30.0, 1, 120.0, 0.5) == 120.0
    assert poll_delay(30.0, 5, 1.0, 0.5) > 1.0


def test_retry_after_cannot_silence_a_device() -> None:
    assert poll_delay(30.0, 1, 1e9, 0.5) == MAX_RETRY_AFTER_SECONDS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("9" * 30, MAX_RETRY_AFTER_SECONDS),
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
