"""The device's HTTP interface: OpenAI-compatible completions, models, health, metrics, status.

Rules: the event loop never waits for a model; an error before the first token is a status and a body, after it an event
in the stream; the slot that a request started on stays open until its last byte is sent; a client that hangs up ends
its generation. Which slots exist is not decided here.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from edge_runtime.errors import (
    BusyError,
    ClientGoneError,
    EdgeError,
    InvalidRequestError,
    ServingError,
    UnknownModelError,
)
from edge_runtime.serving.completion import Event, Finished, Started, TextPiece
from edge_runtime.serving.middleware import RefusedBody, RequestScope, error_response, record_of
from edge_runtime.serving.openai import AnswerFormat, ErrorAnswer, Usage, error_body, model_entry, sse
from edge_runtime.serving.schemas import MAX_BODY_BYTES, ChatCompletionBody, CompletionBody
from edge_runtime.serving.slots import SlotTable
from edge_runtime.serving.view import DeviceView
from edge_runtime.serving.worker import Job
from edge_runtime.telemetry import RequestRecord, Telemetry

_T = TypeVar("_T")

_HTTP_ERROR_CODES = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed"}
"""Errors that the framework raises by itself."""


class _Answer:
    """One completion on its way: the job, the lease of its slot, and the format of what the client gets."""

    def __init__(
        self, job: Job, lease: AsyncExitStack, form: AnswerFormat, record: RequestRecord, arrived: float
    ) -> None:
        self._job = job
        self._lease = lease
        self._form = form
        self._record = record
        self._events = job.events()
        self._arrived = arrived
        self._first_text: float | None = None

    async def start(self) -> None:
        """Wait until the prompt is in the context.

        Raises:
            ServingError: The request cannot be answered; nothing has been sent yet.
        """
        event = await anext(self._events)
        assert isinstance(event, Started)
        self._record.prompt_tokens = event.prompt_tokens
        self._record.cached_tokens = event.cached_tokens

    async def whole(self) -> Response:
        """The answer in one body."""
        text = ""
        reason = ""
        async for event in self._events:
            self._note(event)
            if isinstance(event, TextPiece):
                text += event.text
            elif isinstance(event, Finished):
                reason = event.reason
        return JSONResponse(self._form.whole(text, reason, self._usage()))

    async def stream(self, include_usage: bool) -> AsyncIterator[str]:
        """The answer as server-sent events."""
        if opening := self._form.opening():
            yield opening
        try:
            async for event in self._events:
                self._note(event)
                if isinstance(event, TextPiece):
                    yield self._form.delta(event.text)
                elif isinstance(event, Finished):
                    yield self._form.closing(event.reason, self._usage() if include_usage else None)
        except ServingError as error:
            self._record.error = error.code
            yield sse(error_body(error.code, str(error), error.hint, self._record.request_id, 500))

    async def close(self) -> None:
        """Cancel what still runs, and give the slot back."""
        self._job.cancel()
        await self._lease.aclose()

    def _note(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, TextPiece) and self._first_text is None:
            self._first_text = now
            self._record.first_token_seconds = round(now - self._arrived, 6)
        if isinstance(event, Finished):
            self._record.completion_tokens = event.completion_tokens
            self._record.finish_reason = event.reason
            if self._first_text is not None:
                self._record.decode_seconds = round(now - self._first_text, 6)

    def _usage(self) -> Usage:
        record = self._record
        return Usage(record.prompt_tokens or 0, record.completion_tokens or 0, record.cached_tokens or 0)


class _StreamedAnswer(StreamingResponse):
    """A stream that gives its slot back however it ends, even when it never began."""

    def __init__(self, answer: _Answer, include_usage: bool) -> None:
        super().__init__(
            answer.stream(include_usage),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.close()


class _Completions:
    """Answers completion requests from the slots."""

    def __init__(self, slots: SlotTable, device: DeviceView) -> None:
        self._slots = slots
        self._device = device

    async def answer(
        self, request: Request, body: CompletionBody | ChatCompletionBody, kind: Literal["text", "chat"]
    ) -> Response:
        answer = await self._begin(request, body, kind)
        try:
            await _unless_hung_up(request, answer.start())
            if body.stream:
                return _StreamedAnswer(answer, body.includes_usage)
            response = await _unless_hung_up(request, answer.whole())
        except BaseException:
            await answer.close()
            raise
        await answer.close()
        return response

    async def _begin(
        self, request: Request, body: CompletionBody | ChatCompletionBody, kind: Literal["text", "chat"]
    ) -> _Answer:
        arrived = time.monotonic()
        record = record_of(request.scope)
        wanted = body.to_request()
        name = self._device.slot_name(body.model)
        lease = AsyncExitStack()
        try:
            slot = await lease.enter_async_context(self._slots.lease(name))
            job = slot.worker.submit(wanted)
        except UnknownModelError as error:
            raise self._explain(name, error) from error
        except BaseException:
            await lease.aclose()
            raise
        record.model = name
        record.fingerprint = slot.revision.fingerprint
        record.streamed = body.stream
        answer_id = f"{'cmpl' if kind == 'text' else 'chatcmpl'}-{uuid.uuid4().hex}"
        form = AnswerFormat(kind, answer_id, int(time.time()), body.model, slot.revision.fingerprint)
        return _Answer(job, lease, form, record, arrived)

    def _explain(self, name: str, unknown: UnknownModelError) -> ServingError:
        """A name that will be served soon is not unknown: say that it is on its way, or why it is not."""
        if not self._slots.revisions():
            return BusyError("the device is starting", "ask again; /health/ready says when", code="starting")
        for model in self._device.models():
            if model.id == name:
                return BusyError(
                    f"{name} does not serve yet: {model.message}", "GET /status says more", code="not_ready"
                )
        return unknown


def create_app(slots: SlotTable, device: DeviceView, telemetry: Telemetry) -> FastAPI:
    """The HTTP interface of one device."""
    app = FastAPI(
        title="LoRA-Gen edge runtime",
        description="OpenAI-compatible; `model` names a specialization, or `base`.",
        redoc_url=None,
        responses={"default": {"model": ErrorAnswer, "description": "Every error has this body."}},
    )
    app.add_middleware(RequestScope, finished=telemetry.request_finished, max_body_bytes=MAX_BODY_BYTES)
    completions = _Completions(slots, device)

    @app.post("/v1/completions", tags=["inference"])
    async def complete(request: Request, body: CompletionBody) -> Response:
        """OpenAI's completions: one prompt, as text or as tokens; answers and stream chunks are OpenAI's."""
        return await completions.answer(request, body, "text")

    @app.post("/v1/chat/completions", tags=["inference"])
    async def chat(request: Request, body: ChatCompletionBody) -> Response:
        """OpenAI's chat completions, through the model's chat template; answers and stream chunks are OpenAI's."""
        return await completions.answer(request, body, "chat")

    @app.get("/v1/models", tags=["inference"])
    async def models() -> Response:
        """What the device serves, and what it is about to: `state` tells how the LoRA is applied, `message` why not."""
        return JSONResponse({"object": "list", "data": [model_entry(model) for model in device.models()]})

    @app.get("/v1/models/{model:path}", tags=["inference"])
    async def model(model: Annotated[str, Path(max_length=256)]) -> Response:
        """One of `/v1/models`, by its id."""
        for entry in device.models():
            if entry.id == model or device.slot_name(model) == device.slot_name(entry.id):
                return JSONResponse(model_entry(entry))
        raise UnknownModelError(f"no model {model[:80]!r} on this device", "GET /v1/models lists them")

    @app.get("/status", tags=["operation"])
    async def status() -> Response:
        """What the device follows, what it serves and what keeps it from more."""
        return JSONResponse(asdict(device.report()))

    @app.get("/health/live", tags=["operation"])
    async def live() -> Response:
        return JSONResponse({"status": "live"})

    @app.get("/health/ready", tags=["operation"])
    async def ready() -> Response:
        reason = device.not_ready_reason()
        if reason is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "reason": reason}, 503)

    @app.get("/metrics", tags=["operation"])
    async def metrics() -> Response:
        return Response(telemetry.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(EdgeError)
    async def on_edge_error(request: Request, error: EdgeError) -> Response:
        return error_response(error, record_of(request.scope))

    @app.exception_handler(RequestValidationError)
    async def on_invalid_body(request: Request, error: RequestValidationError) -> Response:
        return error_response(_refused(error.errors()), record_of(request.scope))

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> Response:
        record = record_of(request.scope)
        if isinstance(error, RefusedBody):
            return error_response(error.reason, record)
        if isinstance(error.__cause__, ValueError | RecursionError):
            return error_response(_unreadable(error.__cause__), record)
        record.error = _HTTP_ERROR_CODES.get(error.status_code, "http_error")
        body = error_body(
            record.error, str(error.detail), "/openapi.json has the paths", record.request_id, error.status_code
        )
        return JSONResponse(body, error.status_code, error.headers)

    return app


def _refused(faults: Sequence[Any]) -> InvalidRequestError:
    """One error for a body that does not fit the schema."""
    if faults[0]["type"] == "json_invalid":
        at, why = faults[0]["loc"][-1], faults[0].get("ctx", {}).get("error", "")
        return InvalidRequestError(f"expected JSON, found a fault at character {at}: {why}", "send one JSON object")
    # A field of several forms has a fault for each; the one that got past the type tells what is wrong.
    field = faults[0]["loc"][:2]
    of_field = [fault for fault in faults if fault["loc"][:2] == field]
    told = next((fault for fault in of_field if not fault["type"].endswith("_type")), faults[0])
    where = ".".join(str(part) for part in told["loc"] if part != "body")
    message = f"{where}: {told['msg']}" if where else str(told["msg"])
    return InvalidRequestError(message, "/openapi.json has the schema of the body")


def _unreadable(cause: BaseException) -> InvalidRequestError:
    """The error for a body that could not even be parsed; the framework only says that there was one."""
    if isinstance(cause, UnicodeDecodeError):
        return InvalidRequestError(
            f"expected UTF-8, found {cause.reason} at byte {cause.start}", "encode the body as UTF-8"
        )
    if isinstance(cause, RecursionError):
        return InvalidRequestError("expected JSON of reasonable depth, found deeper nesting")
    return InvalidRequestError("expected JSON with numbers of reasonable length, found a longer one")


async def _unless_hung_up(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of `work`, which is cancelled when the client closes its connection.

    Raises:
        ClientGoneError: It did.
    """
    working = asyncio.ensure_future(work)
    hung_up = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({working, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError("the client closed the connection before the answer was complete")
    finally:
        working.cancel()
        hung_up.cancel()
        await asyncio.gather(working, hung_up, return_exceptions=True)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
