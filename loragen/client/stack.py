"""Coordinator: both services of this repository on this machine, for demonstrations, measurements and tests.

The services are child processes on free loopback ports, as they would run in production. None of their code is
imported here.
"""

import json
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx2

from loragen.client.cloud import CloudClient
from loragen.client.device import DeviceClient
from loragen.client.errors import ClientError, StackError
from loragen.client.process import ServiceProcess, free_ports
from loragen.client.session import Session


@dataclass(frozen=True, slots=True)
class ModelPair:
    """A generator and the two models that it belongs to.

    Attributes:
        generator: Folder of the generator.
        cloud_model: Hugging Face folder or id, or `package:NAME`.
        edge_model: Hugging Face folder or id, or a GGUF file, which `package:NAME/PATH` may name.
        base_gguf: The edge model as GGUF; when there is no such file, a stack converts the edge model's folder. An edge
            model that is a GGUF file already takes its place.
    """

    generator: Path
    cloud_model: str
    edge_model: str
    base_gguf: Path

    @classmethod
    def at(cls, folder: Path) -> Self:
        """The pair in a folder with `generator/`, `edge-f16.gguf`, and `cloud/` and `edge/`.

        A model without a folder is the one that the generator names: published, and not stored with the pair.

        Raises:
            StackError: The generator cannot be read.
        """
        manifest = _manifest(folder / "generator")
        cloud, edge = (
            str(folder / kind if (folder / kind).is_dir() else manifest[f"{kind}_model"]["source"])
            for kind in ("cloud", "edge")
        )
        return cls(folder / "generator", cloud, edge, folder / "edge-f16.gguf")

    @property
    def edge_model_id(self) -> str:
        """The edge model's id, as the generator knows it."""
        return _manifest(self.generator)["edge_model"]["id"]


class LocalStack:
    """A cloud service and a device that follows it; a context manager that is left with both ended.

    Args:
        pair: What is served.
        state: Folder for logs, stores and merged models; by default a temporary one that is removed at the end.
        channel: That the device follows.
        device: Whether there is a device; without it, only `cloud` may be used.
        cloud_settings: Further settings of the cloud service, by the names of its environment variables.
        edge_settings: Further settings of the device.

    Attributes:
        cloud: A client of the cloud service.
        device: A client of the device.

    Example:
        >>> with LocalStack(ModelPair.at(DEFAULT_PAIR.folder)) as stack:
        ...     answer = stack.cloud.generate("Say whether a review is positive or negative.", publish="local/reviews")
        ...     stack.device.wait_until_serving("reviews", answer.id)
        ...     print(stack.device.chat("reviews", "Dull from start to finish.").text)
    """

    cloud: CloudClient
    device: DeviceClient

    def __init__(
        self,
        pair: ModelPair,
        state: Path | None = None,
        *,
        channel: str = "local",
        device: bool = True,
        cloud_settings: Mapping[str, str] | None = None,
        edge_settings: Mapping[str, str] | None = None,
    ) -> None:
        self.channel = channel
        self._pair = pair
        self._state = state
        self._device = device
        self._cloud_settings = cloud_settings or {}
        self._edge_settings = edge_settings or {}
        self._processes: list[ServiceProcess] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Start both services and wait until they are ready.

        Raises:
            StackError: A service ended, or the edge model cannot be converted; the message has the end of its log.
            WaitError: A service is not ready in time.
        """
        with ExitStack() as stack:
            state = self._state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loragen-")))
            state.mkdir(parents=True, exist_ok=True)
            http_port, grpc_port, edge_port = free_ports(3)
            cloud_url, device_url = f"http://127.0.0.1:{http_port}", f"http://127.0.0.1:{edge_port}"
            self.cloud = stack.enter_context(CloudClient(cloud_url, api_key="", transport=_direct()))
            pair = self._pair
            models = {"cloud_model": pair.cloud_model, "edge_model": pair.edge_model}
            cloud = {
                "LORAGEN_CLOUD_GENERATORS": json.dumps([{"directory": str(pair.generator), **models}]),
                "LORAGEN_CLOUD_HOST": "127.0.0.1",
                "LORAGEN_CLOUD_PORT": str(http_port),
                "LORAGEN_CLOUD_GRPC_PORT": str(grpc_port),
                "LORAGEN_CLOUD_STORE_URL": f"sqlite:///{state / 'cloud.sqlite'}",
            }
            self._start(stack, "cloud_service", {**cloud, **self._cloud_settings}, state)
            if self._device:
                self.device = stack.enter_context(DeviceClient(device_url, transport=_direct()))
                edge = {
                    "LORAGEN_EDGE_HOST": "127.0.0.1",
                    "LORAGEN_EDGE_PORT": str(edge_port),
                    "LORAGEN_EDGE_CLOUD_URL": cloud_url,
                    "LORAGEN_EDGE_CLOUD_GRPC": f"127.0.0.1:{grpc_port}",
                    "LORAGEN_EDGE_CHANNEL": self.channel,
                    "LORAGEN_EDGE_DEVICE_ID": "local-device",
                    "LORAGEN_EDGE_BASE_MODEL": str(self._ensure_base(state)),
                    "LORAGEN_EDGE_DATA_DIR": str(state / "edge"),
                    "LORAGEN_EDGE_POLL_INTERVAL_SECONDS": "0.5",
                }
                if "LORAGEN_EDGE_TRUSTED_ROOT" not in self._edge_settings:
                    # Both services are this process's own children.
                    edge["LORAGEN_EDGE_ALLOW_UNSIGNED"] = "true"
                self._start(stack, "edge_runtime", {**edge, **self._edge_settings}, state)
            clients: tuple[Session, ...] = (self.cloud, self.device) if self._device else (self.cloud,)
            for process, client in zip(self._processes, clients, strict=True):
                process.wait_until_ready(client)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """End both services.

        Raises:
            StackError: The block failed because a service had ended; the message has the end of its log.
        """
        with self._stack:
            if isinstance(error, ClientError):
                self.verify_alive()

    def verify_alive(self) -> None:
        """Do nothing while both services run.

        Raises:
            StackError: A service has ended; the message has the end of its log.
        """
        for process in self._processes:
            process.verify_alive()

    def _start(self, stack: ExitStack, module: str, settings: Mapping[str, str], state: Path) -> None:
        log = state / f"{module}.log"
        self._processes.append(stack.enter_context(ServiceProcess(module, ["-m", module], settings, log)))

    def _ensure_base(self, state: Path) -> Path:
        if self._pair.edge_model.endswith(".gguf"):
            return Path(self._pair.edge_model)
        if self._pair.base_gguf.is_file():
            return self._pair.base_gguf
        base_gguf = state / "edge-f16.gguf"
        program = "from edge_runtime.cli import main; main()"
        options = ["-o", str(base_gguf), "--model-id", self._pair.edge_model_id]
        arguments = ["-c", program, "convert", self._pair.edge_model, *options]
        with ServiceProcess("loragen-edge convert", arguments, {}, state / "convert.log") as converting:
            converting.verify_success()
        return base_gguf


def _direct() -> httpx2.HTTPTransport:
    # Whatever proxy the environment names, loopback is reached without it.
    return httpx2.HTTPTransport()


def _manifest(generator: Path) -> dict[str, dict[str, str]]:
    path = generator / "generator.json"
    try:
        manifest = json.loads(path.read_bytes())
        models = {kind: manifest[kind] for kind in ("cloud_model", "edge_model")}
        # The id is the source where nothing else is said.
        return {
            kind: {"id": str(model["id"]), "source": str(model.get("source") or model["id"])}
            for kind, model in models.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StackError(f"{path} does not say which models the generator belongs to: {error!r}") from error
