"""Whose request is next, and whose makes room: by networks first, then by addresses."""

from collections import Counter

import pytest

from edge_runtime.serving.turns import Turns, network_of, place_in_the_way

HOUSE = [f"2001:db8:0:1::{number:x}" for number in range(1, 9)]
"""Addresses of one network, as many as its owner likes."""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "one", False),
        ("a:b", "a:c", False),
    ],
)
def test_network_is_64_bits_of_ipv6_and_a_whole_address_of_ipv4(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def begun(arriving: list[str], sequences: int = 1) -> list[str]:
    """The clients in the order in which they begin; as many are answered at a time, and the oldest ends first."""
    turns, waiting, running, order = Turns(), list(arriving), list[str](), list[str]()
    for client in arriving:
        turns.arrive(client)
    while waiting:
        client = waiting.pop(turns.take_next(waiting, running))
        order.append(client)
        running = [*running, client][-sequences + 1 :] if sequences > 1 else []
    return order


@pytest.mark.parametrize("sequences", [1, 2, 4])
def test_client_with_many_addresses_has_one_turn_among_others(sequences: int) -> None:
    order = begun([*HOUSE, *["192.0.2.7"] * 3, *["2001:db8:0:2::1"] * 3], sequences)
    counted = Counter(map(network_of, order[:9]))
    assert counted[network_of(HOUSE[0])] <= 4, order


def test_neighbours_of_one_network_take_turns() -> None:
    order = begun([*[HOUSE[0]] * 4, HOUSE[1], "192.0.2.7"])
    assert order[:4].count(HOUSE[0]) == 2
    assert HOUSE[1] in order[:4]


def test_full_queue_of_one_network_makes_room_for_another() -> None:
    assert place_in_the_way("192.0.2.7", HOUSE, []) == len(HOUSE) - 1
    assert place_in_the_way("2001:db8:0:2::1", HOUSE[2:], HOUSE[:2]) == 5
    assert place_in_the_way("2001:db8:0:1::ff", HOUSE, []) is None, "one more of the same"
    assert place_in_the_way(HOUSE[7], [*HOUSE[1:4], *[HOUSE[0]] * 3], []) == 5, "a neighbour that asks much"
    assert place_in_the_way("192.0.2.7", ["192.0.2.8"], []) is None
    assert place_in_the_way("192.0.2.7", [], HOUSE) is None, "what has begun is finished"


def test_who_is_gone_is_forgotten() -> None:
    turns = Turns()
    for client in HOUSE:
        turns.arrive(client)
        turns.take_next([client], [])
    assert turns._last.keys() == {HOUSE[-1], network_of(HOUSE[-1])}
