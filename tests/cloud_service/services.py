"""Helper: services over a fake generator and a real store, as several replicas if need be."""

from collections.abc import Callable

from cloud_service.access.revocation import Revocation
from cloud_service.access.usage import UsageLimits, UsageMeter
from cloud_service.artifacts import ArtifactService, unknown_bundle
from cloud_service.catalog import Catalog, ServedGenerator
from cloud_service.fleet.channels import ChannelService
from cloud_service.generation import LoadedGenerator
from cloud_service.lora_request import LoraRequest
from cloud_service.probing import Prober
from cloud_service.refine.refiner import Refiner
from cloud_service.refine.refining import RefiningService
from cloud_service.refinement import Tuning
from cloud_service.runner import Runner
from cloud_service.service import LoraService
from cloud_service.single_flight import LEASE_SECONDS
from cloud_service.store import Store, StoredImport, StoredLora
from cloud_service.task import TaskDescription
from cloud_service.telemetry import Metrics


async def generate_lora(store: Store, generator: LoadedGenerator, text: str) -> StoredLora:
    """A LoRA in a store, by a service that is closed again."""
    service = make_service(store, generator)
    try:
        answer = await service.generate(LoraRequest(TaskDescription(text)))
        return await service.artifacts.find_lora(answer.lora)
    finally:
        await service.close(5)


class MadeBundles:
    """Bundles that were made: what a channel publishes when no generator is there to make others."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def find_bundle(self, either_id: str) -> StoredLora | StoredImport:
        """What the store has."""
        found = await self._store.load_lora(either_id) or await self._store.find_imported(either_id)
        if found is None:
            raise unknown_bundle(either_id)
        return found


def make_channels(
    store: Store,
    watch_interval_seconds: float = 0.05,
    changed: Callable[[str], None] = lambda action: None,
) -> ChannelService:
    """Channels that publish what was made already."""
    return ChannelService(
        store,
        MadeBundles(store),
        watch_interval_seconds=watch_interval_seconds,
        changed=changed,
    )


MakeService = Callable[..., LoraService]


def make_service(
    store: Store,
    *generators: LoadedGenerator,
    metrics: Metrics | None = None,
    request_timeout_seconds: float = 10,
    lease_seconds: float = LEASE_SECONDS,
    max_queue: int = 16,
    max_batch: int = 4,
) -> LoraService:
    """A service whose runners run; close it."""
    metrics = metrics or Metrics()
    usage = UsageMeter(store.access, UsageLimits())
    served = []
    for generator in generators:
        runner = Runner(generator, max_batch=max_batch, max_delay_seconds=0.005, max_queue=max_queue, events=metrics)
        runner.start()
        prober = Prober(
            generator.load_probe, generator.bank, max_waiting=2, timeout_seconds=request_timeout_seconds, usage=usage
        )
        tuning = Tuning(generator.load_tuner, generator.count_edge_tokens)
        served.append(ServedGenerator(generator.info, generator.bank, runner, prober, generator.linears, tuning))
    catalog = Catalog(served)
    artifacts = ArtifactService(
        store, store.access, catalog, timeout_seconds=request_timeout_seconds, threads=2, events=metrics
    )
    refiner = Refiner(max_queue=3, threads=1, usage=usage, events=metrics)
    return LoraService(
        catalog,
        store,
        artifacts,
        ChannelService(store, artifacts, watch_interval_seconds=0.05),
        RefiningService(store, artifacts, refiner, max_budget_seconds=100),
        usage=usage,
        revocation=Revocation(store.access),
        request_timeout_seconds=request_timeout_seconds,
        lease_seconds=lease_seconds,
        events=metrics,
    )
