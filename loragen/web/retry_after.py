"""When a client that found a queue full shall come back, by the measured rate of the work.

Time to come is divided into slots, of which each is for one client: a little longer than a piece of work takes, since
others ask too. So those who obey come at the rate of the work. They count in whole seconds, and those that were refused
together could only come together, so a client may take one of the next slots too, and waits in the queue for it.

Where several parties ask, such as tenants, one that was given more slots lately than another gives it one of them when
none is free near by. So who asks for much does not make others wait the longest time; a client whose slot was given
away may be refused once more.
"""

import math
from collections import Counter

MOST_SECONDS = 60
"""With a longer wait, a client had better ask another replica."""

_GUESS_SECONDS = 0.25
"""What a piece of work takes, before one was measured; or as long as one has taken that is under way."""

_NEWEST = 0.1
"""Weight of the newest measurement in the mean."""

_SHARE = 0.75
"""Of the work that clients who come back are promised."""

_LATER_SLOTS = 2
"""Slots behind its own that a client may take; more where the queue keeps places for those who come together."""

_SHORTEST_SLOT = 0.001


class RetryAfter:
    """The slots of one queue; times are those of one monotonic clock, in seconds.

    Args:
        places: Of the queue, for clients alone that come back.
    """

    def __init__(self, places: int = 0) -> None:
        self._places = places
        self._seconds = 0.0
        self._slot = 0.0
        self._taken: dict[int, tuple[float, str]] = {}
        self._held: Counter[str] = Counter()

    def measured(self, seconds: float, pieces: int = 1) -> None:
        """Learn that this number of pieces took this long together."""
        share = seconds / pieces
        self._seconds = share if self._seconds == 0 else (1 - _NEWEST) * self._seconds + _NEWEST * share

    def seconds(self, now: float, running: int, running_seconds: float, party: str = "") -> int:
        """Whole seconds for one more client, which is refused now.

        Args:
            now: The time.
            running: Pieces of work under way.
            running_seconds: For how long they have been.
            party: Who asks, where several share the queue.
        """
        return self.promise(now, running, running_seconds, party) or MOST_SECONDS

    def promise(self, now: float, running: int, running_seconds: float, party: str = "") -> int | None:
        """The same, for a client that has a slot of its own then; None when all of them are given away."""
        # The first piece of all may load a model: nothing is known but that it is not done by now.
        piece = self._seconds or max(_GUESS_SECONDS, running_seconds)
        self._fit_slots(now, piece)
        # A piece that takes longer than others is about to be done, for all that is known; then one more has its turn.
        soonest = math.ceil((running + 1) * piece - min(running_seconds, running * piece))
        for seconds in range(min(max(1, soonest), MOST_SECONDS), MOST_SECONDS + 1):
            if self._take(now + seconds, party):
                return seconds
        return None

    def _take(self, at: float, party: str) -> bool:
        own = int(at / self._slot)
        later = max(_LATER_SLOTS, min(self._places - 1, math.ceil(1 / self._slot)))
        for slot in range(own, own + later + 1):
            holder = self._taken[slot][1] if slot in self._taken else None
            if holder is not None:
                if self._held[holder] <= self._held[party] + 1:
                    continue
                self._held[holder] -= 1
            self._taken[slot] = at, party
            self._held[party] += 1
            return True
        return False

    def _fit_slots(self, now: float, piece: float) -> None:
        """Forget slots that are over, and divide anew when a piece takes another time than the slots are made for."""
        slot = max(piece / _SHARE, _SHORTEST_SLOT)
        fits = 0.8 * self._slot <= slot <= 1.25 * self._slot
        if fits and len(self._taken) * self._slot <= 2 * MOST_SECONDS:
            return
        promised = sorted(taken for taken in self._taken.values() if taken[0] > now)
        self._slot = self._slot if fits else slot
        self._taken.clear()
        self._held.clear()
        for at, party in promised:
            self._take(at, party)
