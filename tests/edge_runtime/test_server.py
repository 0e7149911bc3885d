"""The device as a process of its own: it comes up, follows, serves, and stops when told to."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.edge_runtime.fake_cloud import FakeCloud


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(root: Path, log: Path, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m edge_runtime` with these settings."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LORAGEN_EDGE_")}
    environment |= {f"LORAGEN_EDGE_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_runtime"], cwd=root, env=environment, stdout=file, stderr=file
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if condition():
                return
        except httpx2.HTTPError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def test_device_runs_as_a_process_and_survives_a_kill(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, root: Path
) -> None:
    """Up, merged, killed without warning, up again without its cloud, and down in order at SIGTERM with code 0."""
    port, log = free_port(), tmp_path / "log"
    url = f"http://127.0.0.1:{port}"
    settings = {
        "cloud_url": cloud.url.replace("://", "://kitchen:hunter2@"),
        "base_model": tiny_base,
        "data_dir": tmp_path / "edge",
        "port": port,
        "poll_interval_seconds": 0.2,
        "context_tokens": 256,
        "threads": 1,
        "log_format": "json",
    }
    wanted = cloud.make("router")
    cloud.publish(wanted)
    body = {"model": "router", "messages": [{"role": "user", "content": "The quick brown"}], "temperature": 0}

    def is_merged() -> bool:
        return any(m["state"] == "merged" for m in httpx2.get(f"{url}/v1/models").json()["data"])

    with running(root, log, **settings) as process:
        wait_for(is_merged, process, log)
        assert httpx2.get(f"{url}/health/ready").status_code == 200
        first = httpx2.post(f"{url}/v1/chat/completions", json=body).json()
        assert first["system_fingerprint"] == f"merged-{wanted.bundle_id}"
        process.kill()
        process.wait()
    cloud.fail("/", hang_up=True)
    with running(root, log, **settings) as process:
        wait_for(lambda: httpx2.get(f"{url}/health/ready").status_code == 200, process, log)
        again = httpx2.post(f"{url}/v1/chat/completions", json=body).json()
        assert again["choices"] == first["choices"]
        assert again["system_fingerprint"] == first["system_fingerprint"]
        status = httpx2.get(f"{url}/status").json()
        assert status["channel_version"] == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert events[0] == "serving"
    assert events[-1] == "stopped"
    assert {"request", "update"} <= set(events)
    assert "The quick brown" not in log.read_text()
    assert "hunter2" not in log.read_text()


def test_stream_in_flight_is_finished_before_the_process_ends(tiny_base: Path, tmp_path: Path, root: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    url = f"http://127.0.0.1:{port}"
    settings = {
        "base_model": tiny_base,
        "data_dir": tmp_path / "edge",
        "port": port,
        "threads": 1,
        "quantization": "Q8_0",
    }
    body = {"model": "base", "prompt": "The", "max_tokens": 200, "temperature": 0, "stream": True}
    with running(root, log, **settings) as process:
        wait_for(lambda: httpx2.get(f"{url}/health/ready").status_code == 200, process, log)
        with httpx2.stream("POST", f"{url}/v1/completions", json=body, timeout=30) as answer:
            pieces = answer.iter_text()
            text = next(pieces)
            process.send_signal(signal.SIGTERM)
            text += "".join(pieces)
        assert text.endswith("data: [DONE]\n\n")
        assert process.wait(30) == 0, log.read_text()


def test_start_that_cannot_work_is_one_line_and_a_hint(tmp_path: Path, root: Path) -> None:
    log = tmp_path / "log"
    with running(root, log, base_model=tmp_path / "nothing.gguf", data_dir=tmp_path / "edge") as process:
        assert process.wait(60) == 1
    text = log.read_text()
    assert "LORAGEN_EDGE_BASE_MODEL" in text
    assert "hint:" in text
    assert "Traceback" not in text


def test_port_that_is_taken_is_a_clear_error(tiny_base: Path, tmp_path: Path, root: Path) -> None:
    log = tmp_path / "log"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running(root, log, base_model=tiny_base, data_dir=tmp_path / "edge", port=port) as process:
            assert process.wait(60) == 1
    assert "LORAGEN_EDGE_PORT" in log.read_text()
    assert "Traceback" not in log.read_text()
