"""One deadline for all calls of a request, whatever it does between them."""

import asyncio

import pytest

from cloud_service.store.waiting import apart, together, waiting


async def call(seconds: float, most_seconds: float = 0.5) -> None:
    async with waiting(most_seconds):
        await asyncio.sleep(seconds)


async def test_calls_that_belong_together_share_one_time() -> None:
    with together():
        await call(0.3)
        await asyncio.sleep(0.6)
        with pytest.raises(TimeoutError):
            await call(0.3)
        with pytest.raises(TimeoutError):
            await asyncio.create_task(call(0.3))
    await call(0.3)


async def test_calls_that_are_answered_at_once_use_up_nothing() -> None:
    with together():
        for _ in range(20):
            await call(0.05)


async def test_calls_of_different_requests_do_not_share() -> None:
    async def request() -> None:
        with together():
            await call(0.3)

    await asyncio.gather(*(request() for _ in range(5)))


async def test_call_that_may_not_wait_any_more_fails_at_once() -> None:
    with together():
        with pytest.raises(TimeoutError):
            await call(5)
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await call(5)
        assert asyncio.get_running_loop().time() - began < 0.1


async def test_what_goes_on_behind_the_answer_has_its_own_time() -> None:
    with together():
        await call(0.4)
        with apart():
            later = [asyncio.create_task(call(0.4)) for _ in range(2)]
        with pytest.raises(TimeoutError):
            await call(0.4)
    await asyncio.gather(*later)
