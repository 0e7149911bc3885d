"""When the clients that found a queue full were asked to come back.

Each tenant, or key without one, has marks of its own, and all of them share one bound. When that is reached, the holder
of the most marks loses some: late ones, or else the older half. So nobody's refusals take another's mark away.
"""

_EARLY_SECONDS, _PATIENCE_SECONDS = 0.2, 5.0
"""How much too early, and how late, a client may come and still be one that was asked to."""

_MOST_REMEMBERED = 16_384
"""Of the clients that were asked to come back; 2 MB."""


class ReturnTimes:
    """Marks by who holds them, and by what a client asks for; times are those of one monotonic clock, in seconds.

    Args:
        most: Marks of all holders together.
    """

    def __init__(self, most: int = _MOST_REMEMBERED) -> None:
        self._most = most
        self._count = 0
        self._due: dict[str, dict[str, float]] = {}

    def has_come(self, holder: str, key: str, now: float) -> bool:
        """Whether a client comes now that was asked to."""
        due = self._find(holder, key)
        return due is not None and -_EARLY_SECONDS <= now - due <= _PATIENCE_SECONDS

    def seconds_left(self, holder: str, key: str, now: float) -> float | None:
        """How long a client that was asked to come back has still to wait; None when it was not, or its time is now."""
        due = self._find(holder, key)
        return due - now if due is not None and now < due - _EARLY_SECONDS else None

    def remember(self, holder: str, key: str, now: float, due: float) -> None:
        """A client is asked now to come back at a time."""
        if self._find(holder, key) is None:
            if self._count >= self._most:
                self._make_room(now)
            self._count += 1
        self._due.setdefault(holder, {})[key] = due

    def forget(self, holder: str, key: str) -> None:
        """A client has come back."""
        marks = self._due.get(holder, {})
        if marks.pop(key, None) is not None:
            self._count -= 1
            if not marks:
                del self._due[holder]

    def _find(self, holder: str, key: str) -> float | None:
        return self._due.get(holder, {}).get(key)

    def _make_room(self, now: float) -> None:
        holder = max(self._due, key=lambda each: len(self._due[each]))
        marks = self._due[holder]
        late = [key for key, due in marks.items() if now - due > _PATIENCE_SECONDS]
        for key in late or list(marks)[: (len(marks) + 1) // 2]:
            self.forget(holder, key)
