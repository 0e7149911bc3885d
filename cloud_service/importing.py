"""A user's own LoRA: from the files of a PEFT adapter to a stored bundle, published if the client asks for it.

The adapter must fit the edge model of one of the service's generators; no generator runs. What an adapter may hold is
decided by `loragen.contract.peft_adapter`, how long a bundle is kept by the store.
"""

import asyncio
from dataclasses import dataclass

from structlog.contextvars import bind_contextvars

from cloud_service.access.audit import AuditLog
from cloud_service.access.caller import current_caller, verify_publishing
from cloud_service.access.ownership import Ownership
from cloud_service.artifacts import ArtifactService
from cloud_service.catalog import Catalog, ServedGenerator
from cloud_service.errors import ImportBudgetError, InvalidRequestError
from cloud_service.fleet.channels import ChannelService, verify_not_reserved
from cloud_service.lora_request import PublishTarget
from cloud_service.store import Store, StoredImport
from loragen.contract.answer import AnswerContract
from loragen.contract.bundle import Bundle, content_id, encode_bundle
from loragen.contract.errors import ContractError
from loragen.contract.peft_adapter import PeftAdapter, imported_bundle


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """An adapter and what to do with it.

    Attributes:
        edge_model: None lets the service choose, like `generator`.
        generator: The generator whose edge model the adapter is for.
        publish: Where to publish the bundle.
    """

    adapter: PeftAdapter
    edge_model: str | None = None
    generator: str | None = None
    publish: PublishTarget | None = None


@dataclass(frozen=True, slots=True)
class ImportedLora:
    """The answer to a request.

    Attributes:
        bundle: What was stored of it.
        modules: How many linear layers the LoRA acts on.
        answer: What an answer may look like.
        channel: Where it was published; None when the request did not ask for it.
    """

    bundle: StoredImport
    modules: int
    answer: AnswerContract
    channel: str | None


class ImportService:
    """Takes users' own LoRAs.

    Args:
        catalog: Its generators say which edge models there are.
        store: Where bundles go.
        artifacts: Lends a thread.
        channels: Where bundles are published.
    """

    def __init__(self, catalog: Catalog, store: Store, artifacts: ArtifactService, channels: ChannelService) -> None:
        self._catalog = catalog
        self._store = store
        self._ownership = Ownership(store.access)
        self._audit = AuditLog(store.access)
        self._artifacts = artifacts
        self._channels = channels
        # An adapter takes several times its size while it is converted.
        self._turn = asyncio.Lock()

    async def import_adapter(self, request: ImportRequest) -> ImportedLora:
        """Make a bundle of an adapter and store it; then publish it as the request asks. Repeating it changes nothing.

        Raises:
            InvalidRequestError: It is no adapter, for another model, or holds what a bundle cannot.
            ImportBudgetError, UsageLimitError: There is no room for it, or none in the tenant's share of the store.
            StoreUnavailableError: The store does not answer.
            CloudError: As for `ChannelService.publish`.
        """
        served = self._catalog.select(request.generator, request.edge_model)
        if request.publish is not None:
            verify_publishing(request.publish.channel)
            verify_not_reserved(request.publish.name, served.info.edge_model_id, "publish.name")
        async with self._turn:
            try:
                bundle, data = await self._artifacts.off_loop(lambda: _convert(request.adapter, served))
            except ContractError as e:
                raise InvalidRequestError(str(e), e.hint, code=f"adapter_{e.code}") from e
            header = bundle.header
            imported = StoredImport(content_id(data), len(data), header.edge_model_id, header.edge_model_digest)
            await self._ownership.verify_room(len(data), imported.bundle_id)
            if not await self._store.store_imported(imported, data, current_caller().tenant):
                await self._ownership.verify_room(len(data), imported.bundle_id)
                raise ImportBudgetError(
                    f"no room for a bundle of {len(data)} bytes: the budget for users' own LoRAs is used up",
                    "delete one, wait until one expires, or let the operator raise LORAGEN_CLOUD_IMPORT_BUDGET_BYTES",
                )
        await self._audit.record("bundle.import", id=imported.bundle_id, bytes=imported.bundle_bytes)
        bind_contextvars(bundle_id=imported.bundle_id, bundle_bytes=imported.bundle_bytes)
        if request.publish is not None:
            await self._channels.publish(request.publish.channel, request.publish.name, imported.bundle_id)
            bind_contextvars(channel=request.publish.channel, specialization=request.publish.name)
        channel = None if request.publish is None else request.publish.channel
        return ImportedLora(imported, len(bundle.lora.factors), header.answer, channel)


def _convert(adapter: PeftAdapter, served: ServedGenerator) -> tuple[Bundle, bytes]:
    info, shape = served.info, served.bank.header.shape
    bundle = imported_bundle(adapter, shape, served.linears, info.edge_model_id, info.edge_model_digest)
    return bundle, encode_bundle(bundle)
