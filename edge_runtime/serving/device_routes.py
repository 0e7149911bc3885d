"""Routes that describe the device: its models, its state, whether it is alive and ready, its metrics."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse

from edge_runtime.errors import BusyError, UnknownModelError
from edge_runtime.serving.answer_format import Json
from edge_runtime.serving.openai import model_entry
from edge_runtime.serving.view import DeviceView
from edge_runtime.telemetry import Telemetry
from loragen.device_answers import ServedAnswer, ServedModel
from loragen.web.metrics import metrics_answer

_ENTRY = model_entry(
    ServedModel("desks", "merged", "5d1e" * 16, answer=ServedAnswer("choice", ("billing", "delivery")))
)
"""An example for the OpenAPI document."""


def device_routes(device: DeviceView, telemetry: Telemetry) -> APIRouter:
    """`/v1/models`, `/status`, `/health` and `/metrics`."""
    router = APIRouter()

    @router.get("/v1/models", tags=["inference"], responses=_example({"object": "list", "data": [_ENTRY]}))
    async def models() -> Response:
        """What the device serves, and what it is about to: `state` says how the LoRA is applied, `message` why not.

        `answer` says what its answers may look like; null while nothing serves under the name.
        `residual_prompt` is what the device puts in front of each chat, as system message; empty for nothing.
        """
        return JSONResponse({"object": "list", "data": [model_entry(model) for model in device.models()]})

    @router.get("/v1/models/{model:path}", tags=["inference"], responses=_example(_ENTRY))
    async def model(model: Annotated[str, Path(max_length=256)]) -> Response:
        """One of `/v1/models`, by its id."""
        for entry in device.models():
            if entry.id == model or device.slot_name(model) == device.slot_name(entry.id):
                return JSONResponse(model_entry(entry))
        raise UnknownModelError(f"no model {model[:80]!r} on this device", "GET /v1/models lists them")

    @router.get("/status", tags=["operation"])
    async def status() -> Response:
        """What the device follows, what it serves and what keeps it from more."""
        return JSONResponse(asdict(device.status()))

    @router.get("/health/live", tags=["operation"])
    async def live() -> Response:
        return JSONResponse({"status": "live"})

    @router.get("/health/ready", tags=["operation"])
    async def ready() -> Response:
        if (reason := device.not_ready_reason()) is not None:
            raise BusyError(reason, code="not_ready")
        return JSONResponse({"status": "ready"})

    @router.get("/metrics", tags=["operation"])
    async def metrics() -> Response:
        return metrics_answer(telemetry.registry)

    return router


def _example(answer: Json) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/json": {"example": answer}}}}
