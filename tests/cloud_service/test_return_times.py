"""Marks of clients that were asked to come back."""

from cloud_service.return_times import ReturnTimes


def test_client_is_known_from_a_little_before_its_time_to_some_seconds_after_it() -> None:
    times = ReturnTimes()
    times.remember("a", "key", now=100.0, due=110.0)
    assert times.seconds_left("a", "key", 104.5) == 5.5
    assert [now for now in (109.0, 109.9, 112.0, 114.9, 116.0) if times.has_come("a", "key", now)] == [
        109.9,
        112.0,
        114.9,
    ]
    assert times.seconds_left("a", "key", 109.9) is None
    assert not times.has_come("b", "key", 110.0), "another's mark is nobody else's"
    times.forget("a", "key")
    assert not times.has_come("a", "key", 110.0)


def test_who_has_most_marks_makes_room() -> None:
    times = ReturnTimes(most=8)
    for number in range(3):
        times.remember("few", f"{number}", 100.0, 120.0)
    for number in range(100):
        times.remember("many", f"{number}", 100.0, 120.0)
    assert all(times.has_come("few", f"{number}", 120.0) for number in range(3))
    kept = [number for number in range(100) if times.has_come("many", f"{number}", 120.0)]
    assert 2 <= len(kept) <= 5
    assert kept[-1] == 99


def test_late_clients_make_room_before_others() -> None:
    times = ReturnTimes(most=4)
    for number, due in enumerate((130.0, 101.0, 130.0, 101.0)):
        times.remember("a", f"{number}", 100.0, due)
    times.remember("b", "new", 110.0, 130.0)
    assert [times.has_come("a", f"{number}", 130.0) for number in range(4)] == [True, False, True, False]
    assert times.has_come("b", "new", 130.0)


def test_place_of_a_client_that_came_back_or_asks_again_is_counted_once() -> None:
    times = ReturnTimes(most=2)
    for number in range(10):
        times.remember("a", "same", 100.0, 110.0)
        times.remember("b", f"{number}", 100.0, 110.0)
        times.forget("b", f"{number}")
    assert times.has_come("a", "same", 110.0)
