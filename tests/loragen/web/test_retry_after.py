"""Clients that come back when they are told to find a place."""

import pytest

from loragen.web.retry_after import RetryAfter


def test_each_refused_client_gets_a_place_of_its_own() -> None:
    """Eight pieces of work take 8 s together: twenty clients are spread over 28 s, and not all told 1."""
    retry_after = RetryAfter()
    retry_after.measured(8.0, pieces=8)
    reported = [retry_after.seconds(now=100.0, running=8, running_seconds=0.0) for _ in range(20)]
    assert reported == list(range(9, 29))
    assert retry_after.seconds(now=200.0, running=8, running_seconds=6.0) == 3


def test_wait_is_at_least_a_second_and_at_most_a_minute() -> None:
    retry_after = RetryAfter()
    assert retry_after.seconds(now=1.0, running=1, running_seconds=0.5) == 1
    retry_after.measured(50.0)
    reported = [retry_after.seconds(now=1.0, running=1, running_seconds=0.0) for _ in range(3)]
    assert reported == [60, 60, 60]


def test_mean_follows_what_is_measured() -> None:
    retry_after = RetryAfter()
    for seconds in [1.0] + [11.0] * 40:
        retry_after.measured(seconds)
    assert retry_after.seconds(now=0.5, running=0, running_seconds=0.0) == 11


@pytest.mark.parametrize(("clients", "places"), [(50, 4), (100, 8)])
def test_nine_of_ten_that_obey_are_served(clients: int, places: int) -> None:
    """A queue of a few places, work of half a second each, and many more clients than it takes."""
    retry_after, now, waiting, refused_again = RetryAfter(), 0.0, 0, 0
    retry_after.measured(0.5)
    comes = dict.fromkeys(range(clients), (0.0, False))
    while comes and now < 300:
        due = [number for number, (at, _) in comes.items() if at <= now]
        for number in due:
            if waiting < places:
                waiting += 1
                del comes[number]
            else:
                refused_again += comes[number][1]
                comes[number] = (now + retry_after.seconds(now, 1, 0.0), True)
        now += 0.5
        waiting = max(0, waiting - 1)
    assert not comes
    assert refused_again <= clients / 10
