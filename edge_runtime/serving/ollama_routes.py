"""Routes of Ollama's interface that read and answer. Those that pull, make or delete models are the channel's."""

import time
from typing import Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from edge_runtime.serving.completion_routes import Completions
from edge_runtime.serving.ollama_bodies import OllamaChatBody, OllamaGenerateBody
from edge_runtime.serving.ollama_format import OllamaError, OllamaFormat, tag_entry
from edge_runtime.serving.view import DeviceView
from loragen.version import package_version
from loragen.web.translation import verify_json


def ollama_routes(completions: Completions, device: DeviceView) -> APIRouter:
    """`/api/chat`, `/api/generate`, `/api/tags` and `/api/version`."""
    router = APIRouter(
        prefix="/api",
        tags=["ollama"],
        responses={"default": {"model": OllamaError, "description": "Every error has this body."}},
    )

    async def answer(request: Request, body: OllamaChatBody | OllamaGenerateBody) -> Response:
        kind: Literal["chat", "generate"] = "chat" if isinstance(body, OllamaChatBody) else "generate"
        form = OllamaFormat(kind, body.model, time.monotonic())
        wanted = body.to_request()
        if wanted is not None:
            return await completions.answer(
                request, body.model_name, wanted, body.stream, lambda _: form, body.then_unload
            )
        if body.then_unload:
            completions.unload(body.model_name)
            return JSONResponse(form.without_answer("unload"))
        await completions.load(request, body.model_name)
        return JSONResponse(form.without_answer("load"))

    @router.post("/chat", dependencies=[Depends(verify_json)])
    async def chat(request: Request, body: OllamaChatBody) -> Response:
        """Ollama's chat, streamed unless `stream` is false."""
        return await answer(request, body)

    @router.post("/generate", dependencies=[Depends(verify_json)])
    async def generate(request: Request, body: OllamaGenerateBody) -> Response:
        """Ollama's completion of a prompt, through the chat template unless `raw` is true."""
        return await answer(request, body)

    @router.get("/tags")
    async def tags() -> Response:
        """The models that serve now."""
        status = device.status()
        served = [model for model in status.models if model.state not in ("pending", "failed")]
        return JSONResponse({"models": [tag_entry(model, status.edge_model_digest or "") for model in served]})

    @router.get("/version")
    async def version() -> Response:
        """The version of this runtime, not of Ollama."""
        return JSONResponse({"version": package_version()})

    return router
