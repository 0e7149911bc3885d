"""Work that fails is logged and done again."""

import asyncio

from structlog.testing import capture_logs

from cloud_service.errors import StoreUnavailableError
from cloud_service.upkeep import repeat
from tests.cloud_service.clouds import eventually


async def test_work_goes_on_after_failures_of_every_kind() -> None:
    done: list[int] = []

    async def work() -> None:
        done.append(1)
        if len(done) == 1:
            raise StoreUnavailableError("away")
        if len(done) == 2:
            raise ValueError("unforeseen")

    with capture_logs() as logged:
        task = asyncio.create_task(repeat("rollouts", 0.001, work))
        await eventually(lambda: len(done) >= 4)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [line["event"] for line in logged] == ["upkeep_failed", "upkeep_crashed"]
