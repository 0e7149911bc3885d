"""The route that takes a user's own LoRA."""

from typing import Annotated

from fastapi import APIRouter, File, Form, UploadFile

from cloud_service.answer.choices import are_distinct
from cloud_service.errors import InvalidRequestError
from cloud_service.http.generation_routes import answer_contract
from cloud_service.importing import ImportRequest, ImportService
from cloud_service.lora_request import PublishTarget
from loragen.cloud_answers import Imported, ImportLinks, Reference
from loragen.contract.answer import TEXT_ANSWER
from loragen.contract.errors import ContractError, FormatError
from loragen.contract.limits import MAX_ADAPTER_CONFIG_BYTES
from loragen.contract.names import NAME_PATTERN
from loragen.contract.peft_adapter import PeftAdapter, answer_of

BRING_PATH = "/bundles"

_Config = Annotated[UploadFile, File(description="PEFT's adapter_config.json.")]
_Weights = Annotated[UploadFile, File(description="PEFT's adapter_model.safetensors.")]
_Answer = Annotated[
    str, Form(description='The answer contract as JSON, such as {"type": "choice", "choices": ["yes", "no"]}.')
]
_Chosen = Annotated[str, Form(description="By default the service's first generator and its edge model.")]
_Name = Annotated[
    str, Form(pattern=f"^$|{NAME_PATTERN}", description="Channel and name to publish under; both or none.")
]


def import_routes(service: ImportService) -> APIRouter:
    """`POST /bundles`."""
    router = APIRouter()

    @router.post(BRING_PATH)
    async def import_adapter(
        adapter_config: _Config,
        adapter_model: _Weights,
        answer: _Answer = "",
        edge_model: _Chosen = "",
        generator: _Chosen = "",
        channel: _Name = "",
        name: _Name = "",
    ) -> Imported:
        """Make a bundle of a PEFT adapter, sent as a form with its two files."""
        if bool(channel) != bool(name):
            raise InvalidRequestError("expected channel and name, or none of them, found one")
        config = await adapter_config.read(MAX_ADAPTER_CONFIG_BYTES + 1)
        try:
            contract = answer_of(answer.encode()) if answer else TEXT_ANSWER
            if not are_distinct(contract.options):
                raise FormatError("answer: expected each choice once, found two that only Unicode writes differently")
        except (ContractError, UnicodeEncodeError) as e:
            raise InvalidRequestError(f"{e}", getattr(e, "hint", ""), code="invalid_answer") from e
        imported = await service.import_adapter(
            ImportRequest(
                PeftAdapter(config, await adapter_model.read(), contract),
                edge_model or None,
                generator or None,
                PublishTarget(channel, name) if channel else None,
            )
        )
        stored = imported.bundle
        return Imported(
            id=stored.bundle_id,
            bundle_bytes=stored.bundle_bytes,
            edge_model=Reference(id=stored.edge_model_id, digest=stored.edge_model_digest),
            modules=imported.modules,
            answer=answer_contract(imported.answer),
            links=ImportLinks(
                bundle=f"/bundles/{stored.bundle_id}",
                channel=None if imported.channel is None else f"/channels/{imported.channel}",
            ),
        )

    return router
