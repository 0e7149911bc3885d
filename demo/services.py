"""Adapters: the cloud service and one device as child processes on free loopback ports.

Their state and logs lie under one directory, emptied at the start. Children are ended by process id on every way out,
and one that dies early is reported with the end of its log.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.errors import ServiceError, WaitError

# Generous: a service that ends early is noticed at once, and a cold disk under load takes long to import torch.
START_TIMEOUT_SECONDS = 180.0
STOP_TIMEOUT_SECONDS = 15.0
POLL_SECONDS = 0.1
LOG_LINES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Child:
    """A running child process and where it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def verify_alive(self) -> None:
        """Raises ServiceError with the end of the log when the process has ended."""
        code = self.process.poll()
        if code is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_SHOWN:]
            raise ServiceError("\n".join((f"{self.name} ended with exit code {code}; the end of {self.log}:", *lines)))

    def stop(self) -> None:
        """Ends the process: asks first, kills after a while."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@dataclass(frozen=True, slots=True)
class LocalServices:
    """Both services, started and not necessarily ready."""

    cloud_url: str
    edge_url: str
    children: tuple[Child, ...]


@contextlib.contextmanager
def local_services(state: Path, models: Path, channel: str) -> Iterator[LocalServices]:
    """Starts both services with the model pair in `models`; ends them when the block is left.

    Raises:
        ServiceError: The base GGUF of the pair is missing, or its generator cannot be read.
    """
    base_gguf = models / "edge-f16.gguf"
    if not base_gguf.is_file():
        raise ServiceError(f"{base_gguf} is missing: the demo needs the shipped model pair")
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    cloud_port, grpc_port, edge_port = free_ports(3)
    cloud_url, edge_url = f"http://127.0.0.1:{cloud_port}", f"http://127.0.0.1:{edge_port}"
    cloud_settings = {
        "LORAGEN_CLOUD_GENERATORS": json.dumps([generator_source(models)]),
        "LORAGEN_CLOUD_HOST": "127.0.0.1",
        "LORAGEN_CLOUD_PORT": str(cloud_port),
        "LORAGEN_CLOUD_GRPC_PORT": str(grpc_port),
        "LORAGEN_CLOUD_STORE_URL": f"sqlite:///{state / 'cloud.sqlite'}",
    }
    edge_settings = {
        "LORAGEN_EDGE_HOST": "127.0.0.1",
        "LORAGEN_EDGE_PORT": str(edge_port),
        "LORAGEN_EDGE_CLOUD_URL": cloud_url,
        "LORAGEN_EDGE_CLOUD_GRPC": f"127.0.0.1:{grpc_port}",
        "LORAGEN_EDGE_CHANNEL": channel,
        "LORAGEN_EDGE_DEVICE_ID": "demo-device",
        "LORAGEN_EDGE_BASE_MODEL": str(base_gguf),
        "LORAGEN_EDGE_DATA_DIR": str(state / "edge"),
        "LORAGEN_EDGE_POLL_INTERVAL_SECONDS": "0.5",
    }
    with contextlib.ExitStack() as stack:
        children = []
        for name, module, settings in (
            ("cloud service", "cloud_service", cloud_settings),
            ("edge runtime", "edge_runtime", edge_settings),
        ):
            child = start_child(name, [sys.executable, "-m", module], settings, state / f"{module}.log")
            stack.callback(child.stop)
            children.append(child)
        yield LocalServices(cloud_url, edge_url, tuple(children))


def generator_source(models: Path) -> dict[str, str]:
    """The entry of LORAGEN_CLOUD_GENERATORS for a model pair.

    Without `cloud/`, the cloud model is the one that the generator names: published, and not stored with the pair.

    Raises:
        ServiceError: The generator cannot be read.
    """
    cloud = str(models / "cloud")
    if not Path(cloud).is_dir():
        manifest = models / "generator" / "generator.json"
        try:
            cloud = str(json.loads(manifest.read_bytes())["cloud_model"]["id"])
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise ServiceError(f"{manifest} does not say which cloud model it belongs to: {e!r}") from e
    return {"directory": str(models / "generator"), "cloud_model": cloud, "edge_model": str(models / "edge")}


def start_child(name: str, command: Sequence[str], settings: Mapping[str, str], log: Path) -> Child:
    """Starts a process whose service settings are these and no others, its output going to a log file."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("LORAGEN_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **settings},
        )
    return Child(name, process, log)


def wait_until_ready(name: str, is_ready: Callable[[], bool], children: Sequence[Child] = ()) -> None:
    """Waits for a service to become ready.

    Raises:
        ServiceError: One of the children ended meanwhile.
        WaitError: It did not happen in time.
    """
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not is_ready():
        for child in children:
            child.verify_alive()
        if time.monotonic() > deadline:
            logs = f"; see {', '.join(str(child.log) for child in children)}" if children else ""
            raise WaitError(f"{name} was not ready after {START_TIMEOUT_SECONDS:g} s{logs}")
        time.sleep(POLL_SECONDS)


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in sockets]
