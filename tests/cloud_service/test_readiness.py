"""A check that many ask for is made once in a while, and what it says is at most that old."""

import asyncio

import pytest

from cloud_service.errors import StoreUnavailableError
from cloud_service.readiness import FRESH_SECONDS, SharedCheck


class Disk:
    """Something to write to, which can be full or slow."""

    def __init__(self) -> None:
        self.writes, self.is_full, self.time = 0, False, 100.0
        self.answers = asyncio.Event()
        self.answers.set()
        self.check = SharedCheck(self.write, lambda: self.time)

    async def write(self) -> None:
        self.writes += 1
        await self.answers.wait()
        if self.is_full:
            raise StoreUnavailableError("full")


async def test_outcome_is_shared_for_a_second_and_then_found_anew() -> None:
    disk = Disk()
    for _ in range(100):
        await disk.check.verify()
    assert disk.writes == 1
    disk.is_full, disk.time = True, disk.time + FRESH_SECONDS
    for _ in range(100):
        with pytest.raises(StoreUnavailableError):
            await disk.check.verify()
    assert disk.writes == 2
    disk.is_full, disk.time = False, disk.time + FRESH_SECONDS
    await disk.check.verify()
    assert disk.writes == 3


async def test_all_who_ask_at_once_wait_for_one_write_and_one_who_leaves_ends_it_for_nobody() -> None:
    disk = Disk()
    disk.answers.clear()
    asking = [asyncio.create_task(disk.check.verify()) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    disk.answers.set()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in outcomes] == [asyncio.CancelledError, type(None), type(None)]
    assert disk.writes == 1


async def test_check_that_nobody_waits_for_any_more_ends() -> None:
    disk = Disk()
    disk.check.close()
    disk.answers.clear()
    asking = asyncio.create_task(disk.check.verify())
    await asyncio.sleep(0)
    asking.cancel()
    disk.check.close()
    await asyncio.gather(asking, return_exceptions=True)
    assert disk.check._checking is not None
    await asyncio.gather(disk.check._checking, return_exceptions=True)
    assert disk.check._checking.cancelled()
