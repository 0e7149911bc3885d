"""Helper: a process that serves a fake generator and prints its port, `serve_fake.py DIRECTORY`; slow on purpose."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cloud_service.bootstrap import run
from loragen.web.logs import configure_logging
from loragen.web.server import stop_on_signals
from tests.cloud_service.clouds import settings_for
from tests.cloud_service.fake_generator import FakeGenerator


async def main(directory: Path) -> None:
    generator = FakeGenerator(directory)
    generator.seconds = 0.5
    with stop_on_signals() as stop:
        await run(
            settings_for(directory, port=0, grpc_port=0),
            [generator],
            stop,
            lambda port, _: print(port, flush=True),  # noqa: T201 - the test reads it
        )


configure_logging("info", "json")
asyncio.run(main(Path(sys.argv[1])))
