"""The budget of threads that all slots share: together they compute with no more threads than there are processors.

llama.cpp's threads wait for each other in a loop, so that two slots with a thread on each processor take far longer
than one after the other. Rules:
- A step takes its slot's threads out of the budget, and gives them back at its end. One that does not fit waits.
- Slots that are busy have the processors for the same time, however long their steps are: who had more leaves the
  others what they take, while they wait or are between two steps. What is free beyond that it may have.
- A slot that was idle saved nothing up, and owes nothing to one that began meanwhile.

Slots of one thread wait for nobody: the system itself shares processors well among threads that do not wait for each
other.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BETWEEN_STEPS_SECONDS = 0.005
"""A slot that computed within this time is taken to go on: sampling, and texts for clients, take less."""


class ThreadBudget:
    """The threads that may compute at a time.

    Args:
        processors: How many.
        now: Seconds that only grow.
    """

    def __init__(self, processors: int, now: Callable[[], float] = time.monotonic) -> None:
        self._processors = self._free = processors
        self._now = now
        self._changed = threading.Condition()
        self._shares: set[ThreadShare] = set()

    def share(self) -> "ThreadShare":
        """The share of one more slot."""
        return ThreadShare(self)

    @contextmanager
    def _taken(self, share: "ThreadShare", threads: int) -> Iterator[None]:
        threads = min(threads, self._processors)
        with self._changed:
            self._join(share, threads)
            while not self._is_next(share, threads):
                self._changed.wait(BETWEEN_STEPS_SECONDS)
            share.is_computing, self._free = True, self._free - threads
            started = self._now()
        try:
            yield
        finally:
            with self._changed:
                ended = self._now()
                share.seconds += (ended - started) * threads
                share.is_computing, share.is_waiting, share.ended = False, False, ended
                self._free += threads
                self._changed.notify_all()

    def _join(self, share: "ThreadShare", threads: int) -> None:
        if not self._is_busy(share):
            busy = [other.seconds for other in self._shares if self._is_busy(other)]
            most = max((other.seconds for other in self._shares), default=0.0)
            share.seconds = max(share.seconds, min(busy, default=most))
        share.threads, share.is_waiting = threads, True
        self._shares.add(share)

    def _is_next(self, share: "ThreadShare", threads: int) -> bool:
        left_to_others = sum(
            other.threads
            for other in self._shares
            if other.seconds < share.seconds and not other.is_computing and self._is_busy(other)
        )
        return left_to_others + threads <= self._free

    def _is_busy(self, share: "ThreadShare") -> bool:
        return share.is_waiting or self._now() - share.ended < BETWEEN_STEPS_SECONDS

    def _leave(self, share: "ThreadShare") -> None:
        with self._changed:
            self._shares.discard(share)
            self._changed.notify_all()


class ThreadShare:
    """What one slot has of a budget. Made by `ThreadBudget.share`.

    Attributes:
        seconds: Thread-seconds that it had, or was counted as having when it was idle.
        threads: What its last step took, or the one that waits wants.
        ended: When its last step ended.
        is_waiting: It is in a step, or waits for one.
        is_computing: It has its threads.
    """

    def __init__(self, budget: ThreadBudget) -> None:
        self._budget = budget
        self.seconds = 0.0
        self.threads = 0
        self.ended = float("-inf")
        self.is_waiting = False
        self.is_computing = False

    @contextmanager
    def taken(self, threads: int) -> Iterator[None]:
        """Have so many threads while the block runs; blocking until they are free."""
        if threads == 1:
            yield
            return
        with self._budget._taken(self, threads):
            yield

    def close(self) -> None:
        """Take no more part."""
        self._budget._leave(self)
