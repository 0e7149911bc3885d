"""Adapter: the product's own path, for numbers that are the product's and not this package's.

Both services run as child processes on free loopback ports, as they would in production: a description is posted to the
cloud service, which answers with a recipe and publishes it; the device assembles the bundle from recipe and bank,
merges it into its base GGUF, quantizes, and answers through llama.cpp. Nothing here imports the device.
"""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx2

from cloud_service.generator.checkpoint import read_manifest
from cloud_service.generator.inference import resolve_model
from cloud_service.task import TaskDescription, render_prompt
from training.evaluation.measure import MOST_ANSWER_TOKENS, score_texts
from training.evaluation.suites import SuiteTask

CHANNEL = "evaluation"
BASE_MODEL = "base"
START_SECONDS = 240.0
MERGE_SECONDS = 240.0
REQUEST_SECONDS = 120.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.2
LOG_LINES = 15


class ServedPathError(Exception):
    """A service did not start, ended, or answered otherwise than documented; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class PairPaths:
    """Where a generator and its two models lie.

    Attributes:
        base GGUF: The edge model as GGUF; made anew when it is not there.
    """

    generator: Path
    cloud: Path
    edge: Path
    base_gguf: Path

    @classmethod
    def of(cls, folder: Path, cloud: str | None = None, edge: str | None = None) -> Self:
        """A folder with generator/, and cloud/ and edge/ unless other folders or hub ids are named.

        A model without a folder is the one that the generator names: published, and not stored with the pair.

        Raises:
            CheckpointError: A model is neither a folder nor on the hub nor in an installed package.
        """
        if cloud is None and not (folder / "cloud").is_dir():
            cloud = read_manifest(folder / "generator").cloud_model.id
        if edge is None and not (folder / "edge").is_dir():
            edge = read_manifest(folder / "generator").edge_model.id
        return cls(
            folder / "generator",
            resolve_model(cloud or folder / "cloud"),
            resolve_model(edge or folder / "edge"),
            folder / "edge-f16.gguf",
        )


@dataclass(frozen=True, slots=True)
class ServedScores:
    """One task on the device.

    Attributes:
        name: The task.
        score: By column (base, prompted, right): mean over the inputs, under the first description sample.
        guided: The same where each request names the answers possible; empty where the set is open.
        seconds: Median time of one answer, by `prompted` and `specialized`; the device caches prompt prefixes.
        tokens: Median prompt tokens that the device counted, by the same.
        retained delta: Smallest share of the LoRA's change that survived quantization, over the tensors.
    """

    name: str
    score: dict[str, float]
    guided: dict[str, float]
    seconds: dict[str, float]
    tokens: dict[str, float]
    retained_delta: float
    merge_seconds: float


@dataclass(frozen=True, slots=True)
class _Service:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def verify_alive(self) -> None:
        if (code := self.process.poll()) is not None:
            lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            raise ServedPathError(
                "\n".join((f"{self.name} ended with exit code {code}; the end of {self.log}:", *lines))
            )

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class ServedPair:
    """A cloud service and one device that run."""

    def __init__(self, cloud_url: str, edge_url: str, services: Sequence[_Service]) -> None:
        self._cloud, self._edge, self._services = cloud_url, edge_url, services
        self._http = httpx2.Client(timeout=REQUEST_SECONDS)

    def close(self) -> None:
        """Closes the connections; the services are `serve_pair`'s."""
        self._http.close()

    def wait_until_ready(self) -> None:
        """Waits for both services.

        Raises:
            ServedPathError: One ended, or is not ready in time.
        """
        deadline = time.monotonic() + START_SECONDS
        for url in (self._cloud, self._edge):
            while not self._is_ready(url):
                for service in self._services:
                    service.verify_alive()
                if time.monotonic() > deadline:
                    raise ServedPathError(f"{url} is not ready after {START_SECONDS:g} s")
                time.sleep(POLL_SECONDS)

    def score(self, task: SuiteTask, name: str) -> ServedScores:
        """Specializes the device by the first description of a task, and scores its answers.

        Args:
            task: Of any metric but `choice`: the device answers in text.
            name: The specialization's name on the channel.

        Raises:
            ServedPathError: A service does not do its part.
        """
        description = task.samples[0]
        merged = self._specialize(description, name)
        ways = {"base": (BASE_MODEL, None), "prompted": (BASE_MODEL, render_prompt(description)), "right": (name, None)}
        score: dict[str, float] = {}
        guided: dict[str, float] = {}
        seconds: dict[str, float] = {}
        tokens: dict[str, float] = {}
        for column, (model, system) in ways.items():
            # The first request may load the model, or fill the prefix cache: it is not what a user waits for later.
            self._answer(model, task.instances[0].input, system)
            answers = [self._answer(model, instance.input, system) for instance in task.instances]
            score[column] = statistics.fmean(score_texts(task, [text for text, _, _ in answers]))
            if task.choices:
                chosen = [
                    self._answer(model, instance.input, system, choices)[0]
                    for instance, choices in zip(task.instances, task.choices, strict=True)
                ]
                guided[column] = statistics.fmean(score_texts(task, chosen))
            if column != "base":
                way = "prompted" if column == "prompted" else "specialized"
                tokens[way] = float(statistics.median(count for _, count, _ in answers))
                seconds[way] = statistics.median(spent for _, _, spent in answers)
        return ServedScores(
            task.name, score, guided, seconds, tokens, float(merged["retained_delta"]), float(merged["merge_seconds"])
        )

    def _specialize(self, task: TaskDescription, name: str) -> dict[str, Any]:
        """The device's entry once it serves the description's bundle, merged."""
        body = {**request_body(task), "publish": {"channel": CHANNEL, "name": name}}
        bundle = self._call("POST", f"{self._cloud}/generate-lora", body)["id"]
        deadline = time.monotonic() + MERGE_SECONDS
        while True:
            models = self._call("GET", f"{self._edge}/v1/models")["data"]
            entry: dict[str, Any] = next((model for model in models if model["id"] == name), {})
            if entry.get("bundle_id") == bundle and entry.get("state") == "merged":
                return entry
            if time.monotonic() > deadline:
                raise ServedPathError(f"{name} is not merged after {MERGE_SECONDS:g} s: the device says {entry}")
            time.sleep(POLL_SECONDS)

    def _answer(self, model: str, text: str, system: str | None, choices: Sequence[str] = ()) -> tuple[str, int, float]:
        """Greedy answer, one of the choices where there are any; prompt tokens; seconds."""
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": text})
        body: dict[str, Any] = {
            "model": model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": MOST_ANSWER_TOKENS,
        }
        if choices:
            body["structured_outputs"] = {"choice": list(choices)}
        start = time.perf_counter()
        answer = self._call("POST", f"{self._edge}/v1/chat/completions", body)
        seconds = time.perf_counter() - start
        return str(answer["choices"][0]["message"]["content"]), int(answer["usage"]["prompt_tokens"]), seconds

    def _call(self, method: str, url: str, body: dict[str, Any] | None = None) -> Any:
        try:
            response = self._http.request(method, url, json=body)
            if response.is_error:
                raise ServedPathError(f"{method} {url}: {response.status_code}: {response.text[:300]}")
            return response.json()
        except (httpx2.TransportError, ValueError) as error:
            for service in self._services:
                service.verify_alive()
            raise ServedPathError(f"{method} {url}: {type(error).__name__}: {error}") from error

    def _is_ready(self, url: str) -> bool:
        try:
            return self._http.get(f"{url}/health/ready").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False


@contextlib.contextmanager
def serve_pair(pair: PairPaths, state: Path, quantization: str) -> Iterator[ServedPair]:
    """Starts both services on a pair and waits for them; ends them when the block is left.

    Args:
        pair: What is served; a base GGUF that is not there is made under `state`.
        state: Folder for logs, bundles and merged models.
        quantization: Of the device's models.

    Raises:
        ServedPathError: A service or the conversion fails.
    """
    state.mkdir(parents=True, exist_ok=True)
    base_gguf = pair.base_gguf if pair.base_gguf.exists() else _convert(pair, state)
    cloud_port, grpc_port, edge_port = _free_ports(3)
    cloud_url, edge_url = f"http://127.0.0.1:{cloud_port}", f"http://127.0.0.1:{edge_port}"
    generator = {"directory": pair.generator, "cloud_model": pair.cloud, "edge_model": pair.edge}
    cloud = {
        "LORAGEN_CLOUD_GENERATORS": json.dumps([{name: str(path) for name, path in generator.items()}]),
        "LORAGEN_CLOUD_HOST": "127.0.0.1",
        "LORAGEN_CLOUD_PORT": str(cloud_port),
        "LORAGEN_CLOUD_GRPC_PORT": str(grpc_port),
        "LORAGEN_CLOUD_STORE_URL": f"sqlite:///{state / 'cloud.sqlite'}",
    }
    edge = {
        "LORAGEN_EDGE_HOST": "127.0.0.1",
        "LORAGEN_EDGE_PORT": str(edge_port),
        "LORAGEN_EDGE_CLOUD_URL": cloud_url,
        "LORAGEN_EDGE_CLOUD_GRPC": f"127.0.0.1:{grpc_port}",
        "LORAGEN_EDGE_CHANNEL": CHANNEL,
        "LORAGEN_EDGE_DEVICE_ID": "evaluation",
        "LORAGEN_EDGE_BASE_MODEL": str(base_gguf),
        "LORAGEN_EDGE_TYPE": quantization,
        "LORAGEN_EDGE_DATA_DIR": str(state / "edge"),
        "LORAGEN_EDGE_POLL_INTERVAL_SECONDS": "0.5",
    }
    with contextlib.ExitStack() as stack:
        services = []
        for module, settings in (("cloud_service", cloud), ("edge_runtime", edge)):
            service = _start(module, settings, state / f"{module}.log")
            stack.callback(service.stop)
            services.append(service)
        served = ServedPair(cloud_url, edge_url, services)
        stack.callback(served.close)
        served.wait_until_ready()
        yield served


def request_body(task: TaskDescription) -> dict[str, Any]:
    """The body of `POST /generate-lora` for a task; the service renders the same prompt from it."""
    return {
        "description": task.description,
        "examples": [{"input": example.input, "output": example.output} for example in task.examples],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": {"type": "object", "properties": {name: {} for name in tool.parameters}},
                },
            }
            for tool in task.tools
        ],
        "output_format": task.output_format,
    }


def _start(module: str, settings: dict[str, str], log: Path) -> _Service:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LORAGEN_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, **settings},
        )
    return _Service(module, process, log)


def _convert(pair: PairPaths, state: Path) -> Path:
    base_gguf = state / "edge-f16.gguf"
    model_id = read_manifest(pair.generator).edge_model.id
    code = "from edge_runtime.cli import main; main()"
    command = [sys.executable, "-c", code, "convert", str(pair.edge), "-o", str(base_gguf), "--model-id", model_id]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ServedPathError(f"loragen-edge convert: {result.stderr.strip()[-500:]}")
    return base_gguf


def _free_ports(count: int) -> list[int]:
    """Distinct loopback ports that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in sockets]
