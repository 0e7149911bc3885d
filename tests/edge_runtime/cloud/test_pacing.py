"""The rules of waiting."""

from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.cloud.pacing import (
    MAX_BACKOFF_SECONDS,
    MAX_RETRY_AFTER_SECONDS,
    backoff_delay,
    poll_delay,
)

DRAWS = st.floats(0, 1, exclude_max=True)


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
