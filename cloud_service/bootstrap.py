"""The only place that knows which implementations are real: puts settings, store, generators and servers together."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
from fastapi import FastAPI

from cloud_service.access.authenticator import OpenIdTokens
from cloud_service.access.control import AccessControl
from cloud_service.access.revocation import LOOK_SECONDS
from cloud_service.access.sessions import Sessions
from cloud_service.access.usage import UsageMeter
from cloud_service.artifacts import ArtifactService
from cloud_service.catalog import Catalog, ServedGenerator
from cloud_service.config import CloudSettings
from cloud_service.deletion import DeletionService
from cloud_service.errors import StoreUnavailableError
from cloud_service.fleet.channels import ChannelService
from cloud_service.fleet.devices import DeviceService
from cloud_service.fleet.retention import forget_deleted, sweep
from cloud_service.fleet.rollouts import RolloutService
from cloud_service.generation import LoadedGenerator
from cloud_service.grpc import GrpcServer
from cloud_service.http import Fleet, create_app
from cloud_service.importing import ImportService
from cloud_service.jobs import JobService
from cloud_service.limits import DAY_SECONDS, MAX_DEVICES_KEPT, MAX_EVENTS_KEPT, MAX_EVENTS_OF_TENANT
from cloud_service.probing import Prober
from cloud_service.refine.refiner import Refiner
from cloud_service.refine.refining import RefiningService
from cloud_service.refinement import Tuning
from cloud_service.runner import Runner
from cloud_service.server import serve
from cloud_service.service import LoraService
from cloud_service.signing.port import MetadataSource
from cloud_service.store import Store, StoreLimits
from cloud_service.store.backends import open_objects, open_store
from cloud_service.store.bundles_apart import SWEEP_SECONDS, BundlesApart
from cloud_service.store.waiting import together
from cloud_service.telemetry import Metrics
from cloud_service.upkeep import repeat
from loragen.contract.errors import ContractError
from loragen.web.errors import ConfigurationError

_log = structlog.get_logger(__name__)

_RETENTION_SECONDS = 3600.0

_ISSUER_KEYS_SECONDS = 300.0
"""After this a key that the issuer of tokens lists no more is good no more."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """Everything of one process, ready to serve."""

    app: FastAPI
    grpc_server: GrpcServer
    service: LoraService
    channels: ChannelService
    devices: DeviceService
    rollouts: RolloutService
    access: AccessControl
    jobs: JobService


def load_generators(settings: CloudSettings) -> list[LoadedGenerator]:
    """The generators that the settings name, in memory.

    Raises:
        ConfigurationError: One of them, or a model that it belongs to, cannot be loaded.
    """
    # Torch takes seconds to import, and commands that only talk to a service do without.
    from cloud_service.generator import GeneratorError, load_generator

    generators: list[LoadedGenerator] = []
    for source in settings.generators:
        started = time.perf_counter()
        try:
            generator = load_generator(source.directory, source.cloud_model, source.edge_model, source.device)
        except (GeneratorError, ContractError, OSError, ValueError) as e:
            hint = getattr(e, "hint", "") or "check LORAGEN_CLOUD_GENERATORS"
            raise ConfigurationError(f"cannot load the generator in {source.directory}: {e}", hint) from e
        seconds = round(time.perf_counter() - started, 2)
        _log.info("generator_loaded", generator=generator.info.id, digest=generator.info.digest, seconds=seconds)
        generators.append(generator)
    return generators


def _make_prober(settings: CloudSettings, generator: LoadedGenerator, usage: UsageMeter) -> Prober | None:
    if not settings.probe:
        return None
    return Prober(
        generator.load_probe,
        generator.bank,
        max_waiting=settings.probe_max_queue,
        timeout_seconds=settings.request_timeout_seconds,
        usage=usage,
    )


def _make_signer(settings: CloudSettings, store: Store, metrics: Metrics) -> MetadataSource | None:
    if settings.signing_dir is None:
        return None
    # TUF and cryptography take 20 MB, and a service that signs nothing does without.
    from cloud_service.signing.signer import ChannelSigner

    return ChannelSigner(settings.signing_dir, store.channels.load_row, metrics)


def _make_tokens(settings: CloudSettings) -> OpenIdTokens | None:
    if (rules := settings.token_rules) is None:
        return None
    # As above: a service without an issuer does without the libraries.
    from cloud_service.access.oidc import TokenVerifier
    from cloud_service.access.oidc_keys import IssuerKeys

    return TokenVerifier(rules, IssuerKeys.open(rules.issuer))


def _make_tuning(settings: CloudSettings, generator: LoadedGenerator) -> Tuning | None:
    return Tuning(generator.load_tuner, generator.count_edge_tokens) if settings.refine else None


def _store_limits(settings: CloudSettings) -> StoreLimits:
    return StoreLimits(
        settings.bundle_budget_bytes,
        settings.import_budget_bytes,
        settings.recipe_ttl_seconds,
        settings.device_ttl_seconds,
        MAX_DEVICES_KEPT,
        settings.channel_versions,
        MAX_EVENTS_KEPT,
        settings.store_timeout_seconds,
        bytes_per_tenant=settings.bytes_per_tenant,
        channels_per_tenant=settings.channels_per_tenant,
        events_per_tenant=MAX_EVENTS_OF_TENANT,
        devices_per_tenant=settings.devices_per_tenant,
        keys_per_tenant=settings.keys_per_tenant,
        audit_entries=settings.audit_entries,
    )


def open_configured_store(settings: CloudSettings) -> Store:
    """The store that the settings name; to be closed. Bundles may be elsewhere.

    Raises:
        ConfigurationError, StoreUnavailableError: As for `open_store`.
    """
    return open_store(settings.store_url.get_secret_value(), _store_limits(settings))


def _open_with_bundles(settings: CloudSettings) -> Store:
    if settings.bundle_url is None:
        return open_configured_store(settings)
    objects = open_objects(settings.bundle_url, settings.store_timeout_seconds)
    return BundlesApart(open_configured_store(settings), objects, _store_limits(settings))


@asynccontextmanager
async def open_cloud(settings: CloudSettings, generators: Sequence[LoadedGenerator]) -> AsyncIterator[Cloud]:
    """Everything of one process, with runners that run; closed on the way out. Raises as `run`."""
    metrics = Metrics()
    tokens = _make_tokens(settings)
    store = _open_with_bundles(settings)
    try:
        access = AccessControl.over(
            store.access,
            settings.authentication,
            settings.docs,
            settings.metrics,
            settings.usage_limits,
            tokens,
            settings.audit_days,
            settings.deleted_days,
        )
        runners = [
            Runner(
                generator,
                max_batch=settings.max_batch,
                max_delay_seconds=settings.max_delay_seconds,
                max_queue=settings.max_queue,
                events=metrics,
            )
            for generator in generators
        ]
        catalog = Catalog(
            [
                ServedGenerator(
                    generator.info,
                    generator.bank,
                    runner,
                    _make_prober(settings, generator, access.usage),
                    generator.linears,
                    _make_tuning(settings, generator),
                )
                for generator, runner in zip(generators, runners, strict=True)
            ]
        )
        artifacts = ArtifactService(
            store,
            store.access,
            catalog,
            timeout_seconds=settings.request_timeout_seconds,
            threads=settings.assembly_threads,
            events=metrics,
        )
        channels = ChannelService(
            store,
            artifacts,
            watch_interval_seconds=settings.watch_interval_seconds,
            changed=metrics.channel_changed,
        )
        devices = DeviceService(store.devices, store.channels, access.audit)
        rollouts = RolloutService(channels, store.channels, devices)
        refiner = Refiner(
            max_queue=settings.refine_max_queue, threads=settings.refine_threads, usage=access.usage, events=metrics
        )
        service = LoraService(
            catalog,
            store,
            artifacts,
            channels,
            RefiningService(store, artifacts, refiner, max_budget_seconds=settings.refine_max_seconds),
            usage=access.usage,
            revocation=access.revocation,
            request_timeout_seconds=settings.request_timeout_seconds,
            events=metrics,
        )
        jobs = JobService(service, store.jobs, deadline_seconds=settings.job_deadline_seconds)
        importing = ImportService(catalog, store, artifacts, channels)
        app = create_app(
            service,
            importing,
            DeletionService(store, channels),
            Fleet(channels, rollouts, devices, settings.channel_cache_seconds),
            jobs,
            metrics,
            access,
            body_timeout_seconds=settings.body_timeout_seconds,
            sessions=Sessions(store.sessions, store.access, access.authenticator),
            hosts=settings.hosts,
            signer=_make_signer(settings, store, metrics),
        )
        with together():  # a signal that comes meanwhile waits, so a store that hangs is waited for once
            await store.verify_supported()
            await access.authenticator.verify_start(settings.host)
            with suppress(StoreUnavailableError):
                # Known from the first poll on, or a device that has a candidate would see the channel go back.
                await rollouts.refresh()
        for runner in runners:
            runner.start()
        deleted_seconds = settings.deleted_days * DAY_SECONDS
        upkeep = [
            asyncio.create_task(repeat("rollouts", settings.watch_interval_seconds, rollouts.look)),
            asyncio.create_task(repeat("retention", _RETENTION_SECONDS, lambda: sweep(store))),
            asyncio.create_task(repeat("expired", _RETENTION_SECONDS, store.prune)),
            asyncio.create_task(repeat("deleted", _RETENTION_SECONDS, lambda: forget_deleted(store, deleted_seconds))),
            asyncio.create_task(repeat("keys", _RETENTION_SECONDS, access.keys.prune)),
            asyncio.create_task(repeat("audit", _RETENTION_SECONDS, access.audit.prune)),
            asyncio.create_task(repeat("revocation", LOOK_SECONDS, access.revocation.look)),
        ]
        if isinstance(store, BundlesApart):
            upkeep.append(asyncio.create_task(repeat("bundles", SWEEP_SECONDS, store.sweep)))
        if tokens is not None:
            upkeep.append(asyncio.create_task(repeat("issuer_keys", _ISSUER_KEYS_SECONDS, tokens.refresh)))
        try:
            grpc_server = GrpcServer(service, channels, devices, metrics, access, settings.body_timeout_seconds)
            yield Cloud(app, grpc_server, service, channels, devices, rollouts, access, jobs)
        finally:
            for task in upkeep:
                task.cancel()
            await asyncio.gather(*upkeep, return_exceptions=True)
            await jobs.close()
            await service.close(timeout_seconds=0)
    finally:
        if tokens is not None:
            await tokens.aclose()
        await store.aclose()


async def run(
    settings: CloudSettings,
    generators: Sequence[LoadedGenerator],
    stop: asyncio.Event,
    listening: Callable[[int, int], None] | None = None,
) -> None:
    """Serve until `stop` is set.

    Raises:
        ConfigurationError: The settings do not describe a service that can run, or an address cannot be listened on.
        StoreUnavailableError: The embedded store cannot be opened, or a store does not say whether there are keys.
    """
    async with open_cloud(settings, generators) as cloud:
        await serve(settings, cloud.app, cloud.grpc_server, cloud.service, cloud.channels, stop, listening)
