"""How much a key may use: calls a minute, calls at a time, costly work a day, and its share of what is bounded for all.

Rates and quotas are counted in the store, so all replicas count together; calls at a time are counted by each replica.
A rate is that of a sliding minute: the calls of the minute before weigh by the share of it that is still within. A call
that is refused is not counted.

Quotas and shares are those of all keys of a tenant together, because its admin may make any number of keys.

A share is of the places of one replica: of a bounded queue, or of open watches. So no tenant takes all of them, and the
others still find one.
"""

import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from cloud_service.access.caller import Caller, current_caller
from cloud_service.errors import OverloadedError, StoreUnavailableError, UsageLimitError
from cloud_service.store.access import CounterStore

_MINUTE = 60
_DAY = 86_400
_MOST_REMEMBERED = 20_000

Work = Literal["watches", "bundles", "probes", "refinements", "imports"]
"""What has places."""

Quota = Literal["generations", "prompt-tokens", "probes", "refinements", "imports"]
"""What is counted by the day."""

_AGAIN_SECONDS = 10
"""Retry-After of who holds its share."""


@dataclass(frozen=True, slots=True)
class UsageLimits:
    """What each key may use; 0 is no limit.

    Attributes:
        calls_per_minute: Over HTTP and gRPC together.
        calls_at_a_time: At one replica; open watches are not counted.
        generations_per_day: That were not answered from the store; days begin at midnight, UTC.
        prompt_tokens_per_day: Of these generations.
        probes_per_day: That were begun.
        refinements_per_day: That were begun, those from the store not counted.
        imports_per_day: That were begun.
        share_percent: Of the places of each bounded resource.
    """

    calls_per_minute: int = 0
    calls_at_a_time: int = 0
    generations_per_day: int = 0
    prompt_tokens_per_day: int = 0
    probes_per_day: int = 0
    refinements_per_day: int = 0
    imports_per_day: int = 0
    share_percent: int = 0


class UsageMeter:
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
        self._held: Counter[tuple[Work, str]] = Counter()
        self._all_held: Counter[Work] = Counter()
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

    def hold(self, work: Work, most: int) -> Callable[[], None]:
        """Take one of the places for a kind of work; the result gives it back, and is to be called once.

        That there are no more than `most` is the business of whoever has the places.

        Args:
            work: What the place is for.
            most: Places that this replica has for it.

        Raises:
            UsageLimitError: The caller's tenant, or its key, holds its share of them.
        """
        holder, percent = current_caller().holder, self._limits.share_percent
        share = max(1, most * percent // 100)
        if holder and percent and self._held[work, holder] >= share:
            raise UsageLimitError(
                f"expected at most {share} {work} of one tenant or key at a time, found one more",
                "wait for one to end",
                code="share_used_up",
                retry_after_seconds=_AGAIN_SECONDS,
            )
        self._held[work, holder] += 1
        self._all_held[work] += 1
        return partial(self._give_back, work, holder)

    def take(self, work: Work, most: int) -> Callable[[], None]:
        """The same of places that nobody else counts.

        Raises:
            UsageLimitError: As for `hold`.
            OverloadedError: None is left.
        """
        if self._all_held[work] >= most:
            raise OverloadedError(
                f"{most} {work} go on, the most allowed", "ask again later", retry_after_seconds=_AGAIN_SECONDS
            )
        return self.hold(work, most)

    @asynccontextmanager
    async def working(self, work: Work, most: int) -> AsyncIterator[None]:
        """A piece of work of the caller, which has one of `most` places for it, and counts for today.

        Raises:
            UsageLimitError: The caller holds its share, or its quota for today is used up.
            OverloadedError, StoreUnavailableError: It may be asked again later.
        """
        give_back = self.take(work, most)
        try:
            if work != "watches" and work != "bundles":  # these begin nothing that a day counts
                await self.begin(work)
            yield
        finally:
            give_back()

    async def begin(self, kind: Quota) -> None:
        """Count a piece of work that begins. Of those that begin at once, no more do than the quota has room for.

        Raises:
            UsageLimitError, StoreUnavailableError: As for `verify_quota`.
        """
        await self._take(kind, 1, self._today(kind))

    @asynccontextmanager
    async def spending(self, amounts: Mapping[Quota, int]) -> AsyncIterator[None]:
        """The same for work, the block, that costs nothing when it fails, and that counts as each kind by an amount.

        Raises:
            UsageLimitError, StoreUnavailableError: As for `verify_quota`.
        """
        taken: dict[str, int] = {}
        try:
            for kind, amount in amounts.items():
                await self._take(kind, amount, today := self._today(kind))
                if self._most(kind):
                    taken[today] = amount
            yield
        except BaseException:
            with suppress(StoreUnavailableError):
                for today, amount in taken.items():
                    await self._store.count(today, -amount, 2 * _DAY)
            raise

    def has_quota(self, kind: Quota) -> bool:
        """Whether anything is counted as this for the caller."""
        return self._most(kind) > 0

    async def today(self) -> Mapping[Quota, tuple[int, int]]:
        """What is counted for the caller today, and what it may; the quotas that are set.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        kinds = [kind for kind in get_args(Quota) if self._most(kind)]
        return {kind: (await self._store.count(self._today(kind), 0, 2 * _DAY), self._most(kind)) for kind in kinds}

    async def verify_quota(self, *kinds: Quota) -> None:
        """Return when the caller may have something done that is counted as each of these.

        Raises:
            UsageLimitError: Its quota for today is used up.
            StoreUnavailableError: The store does not answer.
        """
        for kind in kinds:
            most = self._most(kind)
            if most and await self._store.count(self._today(kind), 0, 2 * _DAY) >= most:
                raise self._used_up(kind, most)

    async def _take(self, kind: Quota, amount: int, today: str) -> None:
        most = self._most(kind)
        if most and (count := await self._store.count(today, amount, 2 * _DAY)) > most:
            await self._store.count(today, -amount, 2 * _DAY)
            raise self._used_up(kind, most, left=most - count + amount, amount=amount)

    def _used_up(self, kind: Quota, most: int, left: int = 0, amount: int = 1) -> UsageLimitError:
        seconds = _DAY - int(self._now()) % _DAY
        found = f"of which {left} are left, and this takes {amount}" if left > 0 else "and they are used up"
        error = UsageLimitError(
            f"expected at most {most} {kind.replace('-', ' ')} of one tenant or key a day, {found}",
            "a new day begins at midnight, UTC",
            code="quota_used_up",
            retry_after_seconds=seconds,
        )
        error.policy, error.state = f'"{kind}";q={most};w={_DAY}', f'"{kind}";r={max(0, left)};t={seconds}'
        return error

    def _most(self, kind: Quota) -> int:
        """The quota of the caller; 0 for none."""
        limits = self._limits
        quotas: dict[Quota, int] = {
            "generations": limits.generations_per_day,
            "prompt-tokens": limits.prompt_tokens_per_day,
            "probes": limits.probes_per_day,
            "refinements": limits.refinements_per_day,
            "imports": limits.imports_per_day,
        }
        return quotas[kind] if current_caller().key_id else 0

    def _today(self, kind: Quota) -> str:
        return f"{kind}:{current_caller().holder}:{int(self._now()) // _DAY}"

    def _give_back(self, work: Work, holder: str) -> None:
        self._all_held[work] -= 1
        self._held[work, holder] -= 1
        if not self._held[work, holder]:
            del self._held[work, holder]

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
