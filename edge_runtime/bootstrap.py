"""Puts a device together from its settings. The only module that knows which adapters are real."""

import contextlib
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import structlog
from fastapi import FastAPI

from edge_runtime.clock import Clock, SystemClock
from edge_runtime.cloud.api_key import ApiKeySource, BearerAuth, key_source
from edge_runtime.cloud.fetcher import HttpFetcher
from edge_runtime.cloud.link import CloudLink
from edge_runtime.cloud.poller import ChannelSource, Poller
from edge_runtime.cloud.tls import grpc_credentials, http_context
from edge_runtime.config import EdgeSettings
from edge_runtime.daemon import Daemon
from edge_runtime.device import Device
from edge_runtime.errors import ModelLoadError
from edge_runtime.memory import give_back
from edge_runtime.processors import usable_processors
from edge_runtime.server import serve
from edge_runtime.serving.app import Front, create_app
from edge_runtime.serving.engine import Engine, EngineLoader
from edge_runtime.serving.slots import SlotTable
from edge_runtime.serving.worker import RequestLimits
from edge_runtime.telemetry import Telemetry
from edge_runtime.updates.artifacts import Artifacts
from edge_runtime.updates.attempts import Attempts
from edge_runtime.updates.base_slot import BaseSlot
from edge_runtime.updates.canary import Canary, ProcessCanary
from edge_runtime.updates.device_model import DeviceModel
from edge_runtime.updates.disk import DataDirectory
from edge_runtime.updates.history import History
from edge_runtime.updates.installer import Installer
from edge_runtime.updates.journal import Journal
from edge_runtime.updates.lock import locked
from edge_runtime.updates.state import DeviceState, StateFile
from edge_runtime.updates.state_store import StateStore
from edge_runtime.updates.updater import Updater
from loragen.contract.polling import PollingDevice, poll_headers
from loragen.device_answers import ChannelTrust
from loragen.version import package_version

if TYPE_CHECKING:
    from edge_runtime.serving.llama import LlamaLoader

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """A device put together."""

    app: FastAPI
    daemon: Daemon
    device: Device
    updater: Updater
    slots: SlotTable
    disk: DataDirectory
    telemetry: Telemetry


@asynccontextmanager
async def open_parts(
    settings: EdgeSettings,
    loader: EngineLoader | None = None,
    clock: Clock | None = None,
    canary: Canary | None = None,
) -> AsyncIterator[Parts]:
    """The parts of the device that `settings` describe, closed when the block is left.

    Args:
        settings: What an operator has set.
        loader: Instead of llama.cpp.
        clock: Instead of the machine's.
        canary: Instead of one in processes.

    Raises:
        ConfigurationError: The settings do not describe a device that can run.
    """
    clock = clock or SystemClock()
    telemetry = Telemetry()
    disk = DataDirectory(settings.data_dir)
    telemetry.on_update = History(disk.history, clock.unix).add
    llama: _LateLlama | None = None
    if loader is None:
        loader = llama = _LateLlama(settings)
    limits = RequestLimits(settings.queue_seconds, settings.answer_tokens, settings.max_answer_tokens)
    slots = SlotTable(loader, settings.max_resident, settings.max_queue, limits=limits)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(locked(disk.root))
        stack.push_async_callback(slots.close)
        # Under the lock: what is remembered of the model belongs to the device that runs on the directory.
        model = DeviceModel.open(settings.base_model, settings.quantization, disk.cache, settings.admit_base_digest)
        if model.problem:
            _log.warning("base_gguf_lost", reason=model.problem)
        attempts = Attempts(settings.channel, clock, telemetry, Journal(disk.journal))
        base = BaseSlot(model, disk, slots, attempts, settings.model_bytes_budget, clock.monotonic)
        key = key_source(settings)
        client = await stack.enter_async_context(_http_client(settings, key))
        fetcher = HttpFetcher(
            client,
            settings.download_timeout_seconds,
            clock.unix,
            lambda: poll_headers(
                PollingDevice(settings.effective_device_id, settings.labels, state_store.state.channel_version or 0)
            ),
        )
        state_store = StateStore(
            StateFile(disk.state),
            DeviceState(model.digest, settings.channel),
            clock,
            settings.poll_interval_seconds,
            random.random,
        )
        poller, trust = None, _no_trust
        if settings.cloud_url is not None:
            source, trust = _channel_source(settings, fetcher, disk, clock, state_store)
            poller = Poller(
                settings.channel,
                source,
                settings.poll_interval_seconds,
                clock,
                random.random,
                telemetry,
                lambda: state_store.state.channel_version,
            )
        updater = Updater(
            poller=poller,
            artifacts=Artifacts(disk, fetcher, settings.max_bank_bytes),
            installer=Installer(base, disk, slots, canary or ProcessCanary(settings.effective_threads), clock.unix),
            state_store=state_store,
            slots=slots,
            base=base,
            disk=disk,
            attempts=attempts,
            merge_policy=settings.merge_policy(model.served_bytes),
        )
        device = Device(
            settings.effective_device_id,
            base,
            slots,
            updater,
            disk.history,
            threads=lambda: settings.effective_threads if llama is None else llama.threads(),
            trust=trust,
        )
        link: CloudLink | None = None
        if settings.cloud_grpc:
            # gRPC takes memory, and a device that only polls does without.
            from edge_runtime.cloud.rpc import GrpcLink

            link = GrpcLink(
                settings.cloud_grpc,
                settings.channel,
                device.device_id,
                labels=settings.labels,
                key=key,
                credentials=grpc_credentials(settings),
                slower=telemetry.slower,
            )
            stack.push_async_callback(link.close)
        telemetry.gauge("sequences_in_use", "Requests that are being answered.", slots.sequences_in_use)
        telemetry.gauge("queue_depth", "Requests that wait for a sequence.", slots.requests_waiting)
        telemetry.gauge("resident_slots", "Slots loaded.", slots.resident_count)
        telemetry.gauge("channel_version", "Newest version seen.", lambda: state_store.state.channel_version or 0)
        daemon = Daemon(updater, device, disk, clock, link, settings.watch_spread_seconds)
        slots.on_broken = daemon.wake
        front = Front(settings.hosts, settings.api_key, settings.cors_origins, settings.chat_template_kwargs)
        app = create_app(slots, device, telemetry, front)
        give_back()  # the header of the base GGUF was read: 2 MB for SmolLM2
        yield Parts(app, daemon, device, updater, slots, disk, telemetry)


class _LateLlama:
    """llama.cpp, which is imported with the first model: probes are answered before."""

    def __init__(self, settings: EdgeSettings) -> None:
        if find_spec("llama_cpp") is None:
            raise ModuleNotFoundError("llama-cpp-python is not installed", name="llama_cpp")
        self._settings = settings
        self._loader: LlamaLoader | None = None
        self._lock = threading.Lock()

    def load(self, model: Path, adapter: Path | None) -> Engine:
        return self._llama().load(model, adapter)

    def threads(self) -> int:
        """Threads of one engine."""
        return self._settings.effective_threads if self._loader is None else self._loader.threads

    def _llama(self) -> "LlamaLoader":
        """The loader.

        Raises:
            ModelLoadError: llama.cpp is installed and does not run here, such as for want of a system library.
        """
        try:
            from edge_runtime.serving.llama import LlamaLoader
        except (ImportError, OSError, RuntimeError) as e:
            hint = "reinstall llama-cpp-python on this machine"
            raise ModelLoadError(f"llama.cpp cannot be loaded: {e}", hint) from e

        with self._lock:
            self._loader = self._loader or LlamaLoader(
                self._settings.context_tokens,
                self._settings.effective_threads,
                self._settings.gpu_layers,
                sequences=self._settings.sequences,
                context_bytes=self._settings.slot_context_bytes,
                measures_threads=self._settings.threads == 0,
                processors=usable_processors(),
            )
            return self._loader


def _channel_source(
    settings: EdgeSettings,
    fetcher: HttpFetcher,
    disk: DataDirectory,
    clock: Clock,
    state_store: StateStore,
) -> tuple[ChannelSource, Callable[[], ChannelTrust | None]]:
    """Where documents come from, and what is known of their signatures."""
    if settings.trusted_root is None:
        _log.warning(
            "channel_unsigned",
            channel=settings.channel,
            reason="whoever answers in the cloud's name chooses what runs here; LORAGEN_EDGE_TRUSTED_ROOT changes that",
        )
        return fetcher, _no_trust
    # TUF and cryptography take 20 MB, and a device without a trusted root does without.
    from edge_runtime.cloud.trust import SignedChannel, read_root

    root = read_root(settings.trusted_root)
    signed = SignedChannel(
        fetcher,
        root,
        disk.trust / settings.channel,
        clock,
        newest_seen=lambda: state_store.state.channel_version,
        void_versions=lambda: state_store.set_channel_version(0),
    )
    return signed, lambda: signed.trust


def _no_trust() -> ChannelTrust | None:
    """Of a channel that nobody signs."""
    return None


async def run(settings: EdgeSettings) -> None:
    """Run a device until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: It cannot start.
        EdgeError: Not even the base model can serve.
    """
    async with open_parts(settings) as parts:
        await serve(settings, parts.app, parts.device, parts.daemon)


def _http_client(settings: EdgeSettings, key: ApiKeySource) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        # Without a cloud nothing ever asks; a client is there so that what uses it need not know.
        base_url=str(settings.cloud_url or "http://localhost"),
        timeout=settings.cloud_timeout_seconds,
        headers={"User-Agent": f"loragen-edge/{package_version()}"},
        auth=BearerAuth(key),
        verify=http_context(settings),
        follow_redirects=False,
    )
