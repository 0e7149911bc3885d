"""The process of a device: how it ends when it cannot start, and how little memory it takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loragen.settings import EDGE_PREFIX

MOST_BYTES = 60_000_000
"""Resident, while the HTTP interface answers and no model is loaded yet; 57 MB on x86-64."""

IDLE_DEVICE = """
import asyncio, json, sys
from pathlib import Path
from edge_runtime.device_process import run_process
from edge_runtime.bootstrap import open_parts
from edge_runtime.config import EdgeSettings
from edge_runtime.lean import without
from edge_runtime.memory import resident_memory
from loragen.web.server import HttpServer, listen

async def be_idle():
    settings = EdgeSettings(base_model=Path(sys.argv[1]), data_dir=Path(sys.argv[2]), threads=1)
    async with open_parts(settings) as parts:
        http = HttpServer(parts.app, listen("127.0.0.1", 0, "PORT"), 1)
        serving = asyncio.create_task(http.run())
        await asyncio.sleep(0.1)
        idle = resident_memory()
        reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
        writer.write(b"GET /health/live HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
        status = (await reader.read()).split()[1]
        http.stop()
        await serving
    print(json.dumps([idle, status.decode()]))

with without("pydantic.v1"):
    asyncio.run(be_idle())
"""


def run(program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program that finds no settings but these."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(EDGE_PREFIX)}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        check=False,
        env=environment | variables,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_idle_device_takes_little_memory(tiny_base: Path, tmp_path: Path) -> None:
    done = run(IDLE_DEVICE, str(tiny_base), str(tmp_path))
    assert done.returncode == 0, done.stderr
    idle, status = json.loads(done.stdout.splitlines()[-1])
    assert status == "200"
    assert 20_000_000 < idle < MOST_BYTES


def test_device_that_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    program = "from edge_runtime.device_process import run_process; run_process()"
    absent = run(program, LORAGEN_EDGE_BASE_MODEL=str(tmp_path / "absent.gguf"), LORAGEN_EDGE_DATA_DIR=str(tmp_path))
    assert absent.returncode == 1
    assert "error (configuration_invalid): LORAGEN_EDGE_BASE_MODEL: " in absent.stderr
    unknown = run(program, LORAGEN_EDGE_POTR="1")
    assert (unknown.returncode, unknown.stderr.splitlines()[0]) == (
        1,
        "error (configuration_invalid): LORAGEN_EDGE_POTR: no such variable; the nearest is LORAGEN_EDGE_PORT",
    )
