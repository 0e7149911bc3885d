"""Rules: whose request is next, and whose makes room in a full queue. No I/O, no clock.

Clients are equal, however much each asks: who has the fewest answers being written is next, and among those who began
longest ago. A client is an address. Whoever has IPv6 has a network of 2**64 of them, so networks are compared first,
and the addresses within one after that: the neighbours in a house share one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address

_NETWORK_BITS = 64
"""Of an IPv6 address, the network's: what one household or one rented machine gets at least (RFC 6177, RFC 7421)."""


def network_of(client: str) -> str:
    """What a client shares with those that may be the same person: the /64 of IPv6, or else the address."""
    if ":" not in client:
        return client
    try:
        address = IPv6Address(client.partition("%")[0])
    except ValueError:  # no address
        return client
    if (mapped := address.ipv4_mapped) is not None:  # a socket that takes both kinds says it so
        return str(mapped)
    return f"{int(address) >> (128 - _NETWORK_BITS):x}/{_NETWORK_BITS}"


class Turns:
    """Remembers in which order clients and their networks began."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def arrive(self, client: str) -> None:
        """A request of a client waits from now on."""
        # Before who began last and behind all others: else those who come and go always come before one who stays.
        new = max(self._last.values(), default=0.0) - 0.5
        for who in (network_of(client), client):
            self._last.setdefault(who, new)

    def take_next(self, waiting: Sequence[str], running: Iterable[str]) -> int:
        """The place of the request that begins, among those that wait, by their clients; who is gone is forgotten."""
        counts = _count(running)
        present = {who for client in (*counts, *waiting) for who in (network_of(client), client)}
        self._last = {who: turn for who, turn in self._last.items() if who in present}

        def order(place: int) -> tuple[float, ...]:
            client = waiting[place]
            network = network_of(client)
            return counts[network], self._last[network], counts[client], self._last[client]

        place = min(range(len(waiting)), key=order)
        turn = 1 + max(self._last.values(), default=0)
        for who in (network_of(waiting[place]), waiting[place]):
            self._last[who] = turn
        return place


def place_in_the_way(client: str, waiting: Sequence[str], running: Iterable[str]) -> int | None:
    """The place of the request that makes room for one of `client`, among those that wait, by their clients.

    It is the last that came of the client with most requests, in the network with most; None unless `client` has
    clearly fewer.
    """
    counts = _count((*waiting, *running))

    def has(client: str) -> tuple[int, int]:
        return counts[network_of(client)], counts[client]

    last = max(reversed(range(len(waiting))), key=lambda place: has(waiting[place]), default=None)
    if last is None:
        return None
    other = waiting[last]
    is_neighbour = network_of(client) == network_of(other)
    of_client, of_other = (counts[client if is_neighbour else network_of(client)] for client in (client, other))
    return last if of_client + 1 < of_other else None


def _count(clients: Iterable[str]) -> Counter[str]:
    """How many requests each client has, and each network."""
    counts: Counter[str] = Counter()
    for client in clients:
        counts.update({network_of(client), client})
    return counts
