"""What the log has of an answer."""

from cloud_service.lora_request import LoraRequest
from cloud_service.task import TaskDescription
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.services import MakeService
from tests.cloud_service.store_backends import SqliteBackend


async def test_log_has_ids_and_times_and_nothing_of_the_task(
    sqlite: SqliteBackend, generator: FakeGenerator, services: MakeService
) -> None:
    service = services(await sqlite.open(), generator)
    made, again = [await service.generate(LoraRequest(TaskDescription("Sort it."))) for _ in range(2)]
    times = {"queue_ms": made.timings.queue, "generate_ms": made.timings.generate}
    ids = {"generator": "fake", "lora_id": made.lora.recipe_id}
    assert made.logged == ids | {"cached": False} | {name: round(1000 * each, 2) for name, each in times.items()}
    assert made.timings.generate > 0
    assert again.logged == ids | {"cached": True, "queue_ms": 0, "generate_ms": 0}
