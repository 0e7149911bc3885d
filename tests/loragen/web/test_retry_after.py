"""Clients that come back when they are told to find a place."""

from collections import Counter

import pytest

from loragen.web.retry_after import RetryAfter


def test_clients_are_spread_at_a_little_less_than_the_rate_of_the_work() -> None:
    """Eight pieces of work take 8 s together: twenty clients are spread over half a minute, and not all told 1."""
    retry_after = RetryAfter()
    retry_after.measured(8.0, pieces=8)
    reported = [retry_after.seconds(now=100.0, running=8, running_seconds=0.0) for _ in range(20)]
    assert reported[0] == 9, "when there is a place"
    assert reported == sorted(reported)
    for seconds in set(reported):
        given = sum(each <= seconds for each in reported)
        assert given <= seconds - reported[0] + 3, "a few more than are done until then wait in the queue"
    assert 30 <= reported[-1] <= 36
    assert retry_after.seconds(now=200.0, running=8, running_seconds=6.0) == 3


@pytest.mark.parametrize("seconds", [0.01, 0.023, 0.2, 1.5])
def test_clients_that_were_refused_at_any_time_come_back_one_after_the_other(seconds: float) -> None:
    """Seconds are whole, so those who are refused in quick succession must not be told the same."""
    retry_after = RetryAfter()
    retry_after.measured(seconds)
    refused = [100 + number * seconds / 5 for number in range(round(min(3 / seconds, 30) * 5))]
    comes = sorted(now + retry_after.seconds(now, 1, 0.0) for now in refused)
    waiting, before = 0.0, 0.0
    for at in comes:
        waiting = max(0.0, waiting - (at - before) / seconds) + 1
        before = at
        assert waiting <= 4.5, "fits into a queue that has few places for those who come back"


@pytest.mark.parametrize(("places", "longest"), [(0, 60), (4, 60), (20, 16), (1000, 5)])
def test_burst_is_told_no_longer_than_the_places_for_it_need(places: int, longest: int) -> None:
    """300 at one moment, of whom a piece of work takes 10 ms: as many come together as there are places, or slots."""
    retry_after = RetryAfter(places)
    retry_after.measured(0.01)
    given = Counter(retry_after.seconds(100.0, 1, 0.0) for _ in range(300))
    assert max(given) <= longest
    assert all(number <= max(3, min(places, 76)) for seconds, number in given.items() if seconds < 60)


def test_party_that_asks_much_gives_way_to_one_that_asks_little() -> None:
    """The slots of a whole minute are one's; another is told the next ones, until both have as many."""
    retry_after = RetryAfter()
    retry_after.measured(1.0)
    loud = [retry_after.seconds(100.0, 1, 0.0, "loud") for _ in range(200)]
    assert loud[-1] == 60
    quiet = [retry_after.seconds(100.0, 1, 0.0, "quiet") for _ in range(60)]
    assert quiet[:3] == [2, 2, 2]
    assert quiet == sorted(quiet)
    assert quiet[20] < 30
    assert quiet[-1] == 60
    assert retry_after.seconds(100.0, 1, 0.0, "third") == 2
    assert retry_after.seconds(100.0, 1, 0.0, "loud") == 60


def test_promises_hold_when_the_work_takes_another_time() -> None:
    retry_after = RetryAfter()
    retry_after.measured(0.5)
    given = [retry_after.seconds(100.0, 0, 0.0) for _ in range(20)]
    for _ in range(40):
        retry_after.measured(1.0)
    given += [retry_after.seconds(100.0, 0, 0.0) for _ in range(10)]
    at_second = Counter(given)
    assert max(at_second.values()) <= 4
    assert min(given[20:]) > max(given[:20]) - 6, "the time of those who were told first is theirs"


def test_what_is_remembered_is_bounded() -> None:
    retry_after = RetryAfter()
    retry_after.measured(0.01)
    for number in range(20_000):
        retry_after.seconds(number / 10, 0, 0.0)
    assert len(vars(retry_after)["_taken"]) <= 12_000


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


def test_before_a_piece_is_done_it_takes_as_long_again_as_it_took_so_far() -> None:
    retry_after = RetryAfter()
    assert [retry_after.seconds(100.0, 1, running) for running in (0.0, 0.5, 16.2, 500.0)] == [1, 1, 17, 60]


@pytest.mark.parametrize(("running", "running_seconds"), [(0, 0.0), (1, 0.0), (1, 2.0)])
def test_clients_are_spread_before_anything_is_measured(running: int, running_seconds: float) -> None:
    retry_after = RetryAfter()
    given = Counter(retry_after.seconds(100.0, running, running_seconds) for _ in range(20))
    assert max(given.values()) <= 6
    for _ in range(40):
        retry_after.measured(5.0)
    later = Counter(retry_after.seconds(100.0, running, 0.0) for _ in range(3))
    assert min(later) > max(given), "who was told first comes first"


def test_nothing_is_promised_when_all_slots_are_given_away() -> None:
    retry_after = RetryAfter()
    retry_after.measured(1.0)
    promised = [retry_after.promise(100.0, 1, 0.0) for _ in range(200)]
    assert sum(each is not None for each in promised) <= 60
    assert promised[-1] is None
    assert retry_after.seconds(100.0, 1, 0.0) == 60


def test_piece_that_takes_longer_than_others_leaves_the_time_of_the_next_one() -> None:
    retry_after = RetryAfter()
    retry_after.measured(10.0)
    assert retry_after.seconds(100.0, running=1, running_seconds=40.0) == 10
