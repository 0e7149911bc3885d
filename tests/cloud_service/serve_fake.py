"""Helper: a process that serves a fake generator and prints its port, `serve_fake.py DIRECTORY [hang] [STORE_URL]`.

Each generation takes half a second, or with `hang` a minute, of which the shutdown waits for one second. The store is a
file in the directory, unless another is named.
"""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from cloud_service.bootstrap import run
from loragen.signals import stop_on_signals
from loragen.web.logs import configure_logging
from loragen.web.server import end_process
from tests.cloud_service.clouds import settings_for
from tests.cloud_service.fake_generator import FakeGenerator


async def main(directory: Path, *, hang: bool) -> None:
    generator = FakeGenerator(directory)
    generator.seconds = 60.0 if hang else 0.5
    store = {"store_url": sys.argv[-1]} if "://" in sys.argv[-1] else {}
    with stop_on_signals() as stop:
        await run(
            settings_for(directory, port=0, grpc_port=0, shutdown_timeout_seconds=1 if hang else 30, **store),
            [generator],
            stop,
            lambda port, _: print(port, flush=True),  # noqa: T201 - the test reads it
        )


configure_logging("info", "json")
asyncio.run(main(Path(sys.argv[1]), hang="hang" in sys.argv))
end_process()
