"""What a device's process takes in memory besides its models: resident bytes, in a process of its own.

- `device_idle_mb`: the HTTP interface answers, and no model is loaded yet. The target is that of the first release.
- `device_base_mb`: the default edge model serves as the base; pages of its file are left out, since the system can take
  them back. What is left is the above, the contexts of its sequences, and the buffers and copies of llama.cpp. The
  baseline is `device_idle_mb`.

Without a cloud: one over https takes 3 MB more, a signed channel 19 MB, watching and reporting over gRPC 12 MB.

    python -m benchmarks.idle_memory
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import BenchmarkError
from loragen.default_pair import DEFAULT_PAIR

if TYPE_CHECKING:
    from benchmarks.figures import Figures

MOST_MB = 60.0

_COMMAND = "python -m benchmarks.idle_memory"


def run(base_model: str = DEFAULT_PAIR.edge_model) -> "Figures":
    """Measure in a process that has loaded nothing but a device.

    Raises:
        BenchmarkError: The process failed.
    """
    # Not above: both load rich, which must not be in the process that is measured.
    from benchmarks.figures import Figure
    from loragen.settings import EDGE_PREFIX

    environment = {name: value for name, value in os.environ.items() if not name.startswith(EDGE_PREFIX)}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", "from benchmarks.idle_memory import measure; measure()", base_model, folder],
            capture_output=True,
            check=False,
            env=environment,
            text=True,
        )
    if done.returncode:
        raise BenchmarkError(f"the device failed: {done.stderr[-500:]}")
    idle, base = (number / 1e6 for number in json.loads(done.stdout.splitlines()[-1]))
    return {
        "device_idle_mb": Figure.of(idle, "MB", _COMMAND, target=MOST_MB),
        "device_base_mb": Figure.of(base, "MB", _COMMAND, baseline=idle),
    }


def measure() -> None:
    """Be a device, and print resident bytes without and with a base: the work of the process that `run` starts."""
    import edge_runtime.device_process  # noqa: F401 - as `python -m edge_runtime` begins
    from edge_runtime.bootstrap import open_parts
    from edge_runtime.config import EdgeSettings
    from edge_runtime.lean import without
    from edge_runtime.memory import resident_memory
    from loragen.web.server import HttpServer, listen

    base_model, folder = sys.argv[1:]

    async def serve() -> tuple[int, int]:
        settings = EdgeSettings(base_model=Path(base_model), data_dir=Path(folder), threads=1)
        async with open_parts(settings) as parts:
            http = HttpServer(parts.app, listen("127.0.0.1", 0, "PORT"), 1)
            serving = asyncio.create_task(http.run())
            await asyncio.sleep(0)
            idle = resident_memory() or 0
            await parts.updater.restore()
            base = (resident_memory() or 0) - _mapped_bytes(".gguf")
            http.stop()
            await serving
        return idle, base

    with without("pydantic.v1"):
        print(json.dumps(asyncio.run(serve())))


def _mapped_bytes(suffix: str) -> int:
    """Resident bytes of mapped files whose names end so."""
    total, counts = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split(None, 1)[0]
        if "-" in first and not first.endswith(":"):
            counts = line.endswith(suffix)
        elif counts and first == "Rss:":
            total += int(line.split()[1]) * 1024
    return total


def main() -> None:
    """Print the figures as JSON."""
    from benchmarks.figures import print_figures

    print_figures(run())


if __name__ == "__main__":
    main()
