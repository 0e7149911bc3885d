"""How much a key may use: calls a minute, calls at a time, generations and prompt tokens a day.

Rates and quotas are counted in the store, so all replicas count together; calls at a time are counted by each replica.
A rate is that of a sliding minute: the calls of the minute before weigh by the share of it that is still within. A call
that is refused is not counted.
"""

import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cloud_service.access.caller import Caller, current_caller
from cloud_service.errors import UsageLimitError
from cloud_service.store.access import CounterStore

_MINUTE = 60
_DAY = 86_400
_MOST_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """What each key may use; 0 is no limit.

    Attributes:
        calls_per_minute: Over HTTP and gRPC together.
        calls_at_a_time: At one replica; open watches are not counted.
        generations_per_day: That were not answered from the store; days begin at midnight, UTC.
        prompt_tokens_per_day: Of these generations.
    """

    calls_per_minute: int = 0
    calls_at_a_time: int = 0
    generations_per_day: int = 0
    prompt_tokens_per_day: int = 0


class Usage:
    """Counts what keys use.

    Args:
        store: Where the counters are.
        limits: What a key may use.
        now: Unix seconds.
    """

    def __init__(self, store: CounterStore, limits: UsageLimits, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._limits = limits
        self._now = now
        self._running: Counter[str] = Counter()
        self._before: dict[str, tuple[int, int]] = {}

    @asynccontextmanager
    async def call(self, caller: Caller, *, counted: bool = True) -> AsyncIterator[Mapping[str, str]]:
        """One call of a key, from its beginning to its end; gives the headers that tell what is left.

        Args:
            caller: Whose call; one without a key has no limits.
            counted: Whether it is among the calls at a time.

        Raises:
            UsageLimitError: The key has used up what it may use for now.
            StoreUnavailableError: The store does not answer.
        """
        key, most = caller.key_id, self._limits.calls_at_a_time
        if not key:
            yield {}
            return
        if counted and most and self._running[key] >= most:
            raise UsageLimitError(
                f"expected at most {most} calls of this key at a time, found one more",
                "wait for one to be answered",
                code="too_many_calls",
                retry_after_seconds=1,
            )
        self._running[key] += counted
        try:
            yield await self._count_call(key) if self._limits.calls_per_minute else {}
        finally:
            self._running[key] -= counted
            if not self._running[key]:
                del self._running[key]

    async def verify_quota(self) -> None:
        """Return when the caller may have something generated.

        Raises:
            UsageLimitError: Its quota for today is used up.
            StoreUnavailableError: The store does not answer.
        """
        for kind, most in self._quotas():
            if await self._store.count(self._today(kind), 0, 2 * _DAY) >= most:
                seconds = _DAY - int(self._now()) % _DAY
                error = UsageLimitError(
                    f"expected at most {most} {kind.replace('-', ' ')} of this key a day, and they are used up",
                    "a new day begins at midnight, UTC",
                    code="quota_used_up",
                    retry_after_seconds=seconds,
                )
                error.policy, error.state = f'"{kind}";q={most};w={_DAY}', f'"{kind}";r=0;t={seconds}'
                raise error

    async def spend(self, prompt_tokens: int) -> None:
        """Count a generation of the caller.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        for kind, _ in self._quotas():
            await self._store.count(self._today(kind), prompt_tokens if kind == "prompt-tokens" else 1, 2 * _DAY)

    def _quotas(self) -> list[tuple[str, int]]:
        limits = self._limits
        quotas = (("generations", limits.generations_per_day), ("prompt-tokens", limits.prompt_tokens_per_day))
        return [(kind, most) for kind, most in quotas if most and current_caller().key_id]

    def _today(self, kind: str) -> str:
        return f"{kind}:{current_caller().key_id}:{int(self._now()) // _DAY}"

    async def _count_call(self, key: str) -> Mapping[str, str]:
        most = self._limits.calls_per_minute
        minute, within = divmod(self._now(), _MINUTE)
        name = f"calls:{key}:{int(minute)}"
        before = await self._count_before(key, int(minute))
        count = await self._store.count(name, 1, 2 * _MINUTE)
        used = before * (1 - within / _MINUTE) + count
        policy = f'"calls";q={most};w={_MINUTE}'
        if used <= most:
            left, reset = int(most - used), math.ceil(_MINUTE - within)
            return {"ratelimit-policy": policy, "ratelimit": f'"calls";r={left};t={reset}'}
        await self._store.count(name, -1, 2 * _MINUTE)
        seconds = max(1, math.ceil(_seconds_until(most, before, count - 1, within)))
        error = UsageLimitError(
            f"expected at most {most} calls of this key a minute, found more",
            f"call again in {seconds} s",
            retry_after_seconds=seconds,
        )
        error.policy, error.state = policy, f'"calls";r=0;t={seconds}'
        raise error

    async def _count_before(self, key: str, minute: int) -> int:
        """What was counted in the minute before, which does not change any more."""
        known = self._before.get(key)
        if known is not None and known[0] == minute:
            return known[1]
        count = await self._store.count(f"calls:{key}:{minute - 1}", 0, 2 * _MINUTE)
        if len(self._before) >= _MOST_REMEMBERED:
            self._before.clear()
        self._before[key] = (minute, count)
        return count


def _seconds_until(most: int, before: int, count: int, within: float) -> float:
    """When one more call fits."""
    room = most - count - 1
    if room >= 0:  # as soon as the minute before weighs no more than that
        return _MINUTE * (1 - room / before) - within
    # In the next minute, when this one's calls weigh one less than the limit.
    return _MINUTE - within + _MINUTE * (1 - (most - 1) / count)
