"""Routes that answer with the models: OpenAI-compatible completions, whole or streamed.

Rules: the event loop never waits for a model; an error before a stream begins is a status and a body, after it an event
in the stream; a stream begins with the first token, or with comments when that takes long, so that proxies keep it; the
slot that a request started on stays open until its last byte is sent; a client that hangs up ends its generation. What
a specialization cannot write, the base model answers under its name. Which slots exist is not decided here.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from edge_runtime.errors import BusyError, ServingError, UnknownModelError
from edge_runtime.serving.answer_format import AnswerFormat, TokenCounts, WholeAnswer
from edge_runtime.serving.completion import CompletionRequest, request_for_base
from edge_runtime.serving.completion_job import CompletionJob
from edge_runtime.serving.engine import Engine
from edge_runtime.serving.events import Event, Finished, Started
from edge_runtime.serving.json_text import AnswerResponse
from edge_runtime.serving.openai import CompletionFormat
from edge_runtime.serving.schemas import ChatCompletionBody, CompletionBody
from edge_runtime.serving.slots import Slot, SlotTable
from edge_runtime.serving.status import ERROR_ANSWERS
from edge_runtime.serving.view import DeviceView
from edge_runtime.telemetry import CompletionRecord
from loragen.contract.names import BASE_NAME
from loragen.web.errors import CutOffError, ServiceError
from loragen.web.hanging_up import unless_hung_up
from loragen.web.scope import record_of
from loragen.web.tracing import past_spans
from loragen.web.translation import verify_json

FormOf = Callable[[str], AnswerFormat]

_ResultT = TypeVar("_ResultT")

_RETRY_SECONDS = 30
"""Retry-After for a specialization that failed: about when a device tries again at the earliest."""

_PING_SECONDS = 10.0
"""Until a stream begins without its first token, and between its comments: proxies end silent ones after 30 to 60."""


class _Answer:
    """One completion on its way: the job, the lease of its slot, and the format of what the client gets."""

    def __init__(
        self, job: CompletionJob, lease: AsyncExitStack, form: AnswerFormat, record: CompletionRecord, arrived: float
    ) -> None:
        self._job = job
        self._lease = lease
        self._form = form
        self._record = record
        self._events = job.events()
        self._starting: asyncio.Task[None] | None = None
        self._arrived = arrived
        self._begun = arrived
        self._first_text: float | None = None
        self._choice_probabilities: Mapping[str, float] | None = None

    async def start(self) -> None:
        """Wait until the prompt is in the context.

        Raises:
            ServingError: The request cannot be answered; nothing has been sent yet.
        """
        event = await anext(self._events)
        assert isinstance(event, Started)
        self._begun = time.monotonic()
        self._record.prompt_tokens = event.prompt_tokens
        self._record.cached_tokens = event.cached_tokens
        self._choice_probabilities = event.choice_probabilities

    async def start_soon(self) -> None:
        """As `start`, for a stream; when it takes long, `stream` waits on.

        Raises:
            ServingError: As for `start`.
        """
        self._starting = asyncio.create_task(self.start())
        done, _ = await asyncio.wait({self._starting}, timeout=_PING_SECONDS)
        if done:
            await self._starting

    async def whole(self) -> Response:
        """The answers in one body."""
        answers = [WholeAnswer() for _ in range(self._job.answers)]
        async for event in self._events:
            self._note(event)
            if not isinstance(event, Started):
                answers[event.index].add(event)
        return AnswerResponse(self._form.whole(answers, self._usage(), self._choice_probabilities))

    @property
    def media_type(self) -> str:
        """Of a stream."""
        return self._form.media_type

    async def stream(self) -> AsyncIterator[str]:
        """The answers in pieces."""
        assert self._starting is not None
        try:
            while not self._starting.done():
                yield self._form.waiting()
                await asyncio.wait({self._starting}, timeout=_PING_SECONDS)
            await self._starting
            async for event in self._events:
                self._note(event)
                yield self._form.chunk(event)
            yield self._form.closing(self._usage())
        except ServingError as error:
            yield self.failure(error)

    def failure(self, error: ServiceError) -> str:
        """The last piece of a stream that cannot go on."""
        self._record.code = error.code
        return self._form.failure(ERROR_ANSWERS.body(error, self._record.request_id))

    async def close(self) -> None:
        """Cancel what still runs, and give the slot back."""
        self._job.cancel()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._lease.aclose()

    def _note(self, event: Event) -> None:
        now = time.monotonic()
        if not isinstance(event, Started | Finished) and self._first_text is None:
            self._first_text = now
            self._record.first_token_seconds = round(now - self._arrived, 6)
        if isinstance(event, Finished):
            self._record.completion_tokens = (self._record.completion_tokens or 0) + event.completion_tokens
            self._record.finish_reason = event.reason
            # Not from the first text on: a choice is sent when it is whole.
            self._record.decode_seconds = round(now - self._begun, 6)
            if self._first_text is not None:
                past_spans(until_first_token=self._first_text - self._arrived, decode=now - self._first_text)

    def _usage(self) -> TokenCounts:
        record = self._record
        counts = (record.prompt_tokens or 0, record.completion_tokens or 0, record.cached_tokens or 0)
        return TokenCounts(*counts, decode_seconds=time.monotonic() - self._begun)


class _StreamedAnswer(StreamingResponse):
    """A stream that gives its slot back however it ends, even when it never began."""

    def __init__(self, answer: _Answer) -> None:
        super().__init__(
            answer.stream(),
            media_type=answer.media_type,
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            await send(message)
            has_begun = True

        try:
            await super().__call__(scope, receive, send_and_note)
        except asyncio.CancelledError:
            # Of a client that hangs up nothing comes here: it is the shutdown, whose time is over.
            if not has_begun:
                raise
            await send({"type": "http.response.body", "body": self._answer.failure(CutOffError()).encode()})
        finally:
            await self._answer.close()


class Completions:
    """Answers completion requests from the slots.

    Args:
        slots: What serves.
        device: What is to serve, for errors.
        template_variables: Of the chat template, where a request sets no others.
    """

    def __init__(
        self, slots: SlotTable, device: DeviceView, template_variables: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self._slots = slots
        self._device = device
        self._template_variables = template_variables

    async def answer(
        self,
        request: Request,
        model: str,
        wanted: CompletionRequest,
        is_streamed: bool,
        form_of: FormOf,
        then_unload: bool = False,
    ) -> Response:
        """Answer one request.

        Args:
            request: What came over HTTP.
            model: Who is to answer.
            wanted: What is asked for.
            is_streamed: Whether the answer goes out while it is written.
            form_of: Makes the format of the answer, for the revision that answers.
            then_unload: Give the model's memory back after the answer, unless others are on it.

        Raises:
            ServingError: The request cannot be answered.
        """
        answer = await self._begin(request, model, wanted, is_streamed, form_of, then_unload)
        try:
            await unless_hung_up(request, answer.start_soon() if is_streamed else answer.start())
            if is_streamed:
                return _StreamedAnswer(answer)
            response = await unless_hung_up(request, answer.whole())
        except BaseException:
            await answer.close()
            raise
        await answer.close()
        return response

    async def load(self, request: Request, model: str) -> None:
        """Have a model in memory, for the requests that follow.

        Raises:
            ServingError: It is not here, or cannot be loaded.
        """
        async with AsyncExitStack() as lease:
            slot = await self._lease(lease, request, model)
            record: CompletionRecord = record_of(request.scope)
            record.fingerprint = slot.revision.fingerprint

    async def call(self, request: Request, model: str, work: Callable[[Engine], _ResultT]) -> _ResultT:
        """Let a model do something short, between two steps.

        Raises:
            ServingError: It is not here, cannot be loaded, or fails.
        """
        async with AsyncExitStack() as lease:
            slot = await self._lease(lease, request, model)
            return await slot.worker.call(work)

    def unload(self, model: str) -> None:
        """Give a model's memory back, unless requests are on it.

        Raises:
            ServingError: It is not here.
        """
        name = self._device.slot_name(model)
        try:
            self._slots.revision(name)
        except UnknownModelError as error:
            raise self._explain(name, error) from error
        self._slots.unload(name)

    async def _lease(self, lease: AsyncExitStack, request: Request, model: str) -> Slot:
        name = self._device.slot_name(model)
        try:
            slot = await lease.enter_async_context(self._slots.lease(name))
        except UnknownModelError as error:
            raise self._explain(name, error) from error
        record: CompletionRecord = record_of(request.scope)
        record.model = name
        return slot

    async def _lease_answering(
        self, lease: AsyncExitStack, request: Request, model: str, wanted: CompletionRequest
    ) -> tuple[Slot, CompletionRequest]:
        """The slot that answers, and what it is asked."""
        async with AsyncExitStack() as own:
            slot = await self._lease(own, request, model)
            for_base = request_for_base(wanted, slot.revision.answer, slot.revision.residual_prompt)
            if for_base is None or BASE_NAME not in self._slots.revisions():
                lease.push_async_callback(own.pop_all().aclose)
                return slot, wanted
        # Not both at a time: a device may have room for one.
        return await lease.enter_async_context(self._slots.lease(BASE_NAME)), for_base

    async def _begin(
        self,
        request: Request,
        model: str,
        wanted: CompletionRequest,
        is_streamed: bool,
        form_of: FormOf,
        then_unload: bool,
    ) -> _Answer:
        arrived = time.monotonic()
        record: CompletionRecord = record_of(request.scope)
        lease = AsyncExitStack()
        if then_unload:  # after everything else in this stack
            lease.callback(self._slots.unload, self._device.slot_name(model))
        try:
            slot, wanted = await self._lease_answering(lease, request, model, wanted)
            client = "" if request.client is None else request.client.host
            job = slot.worker.submit(wanted.over(self._template_variables), is_streamed, client)
        except BaseException:
            await lease.aclose()
            raise
        record.fingerprint = slot.revision.fingerprint
        record.streamed = is_streamed
        lease.callback(self._note_use, slot.revision.name, record)
        return _Answer(job, lease, form_of(slot.revision.fingerprint), record, arrived)

    def _note_use(self, name: str, record: CompletionRecord) -> None:
        read = (record.prompt_tokens or 0) - (record.cached_tokens or 0)
        self._slots.note_tokens(name, read, record.completion_tokens or 0)

    def _explain(self, name: str, unknown: UnknownModelError) -> ServingError:
        """A name that will be served soon is not unknown: say that it is on its way, or why it is not.

        One that failed for good is answered like an unknown one, with its reason: clients ask again after a 409 too.
        """
        if not self._slots.revisions():
            return BusyError("the device is starting", "ask again; /health/ready says when", code="starting")
        for model in self._device.models():
            asked = self._device.slot_name(model.id) == name
            if asked and model.permanent:
                return UnknownModelError(
                    f"{name} cannot serve: {model.message}",
                    "publish another bundle under this name, then ask again",
                    code="specialization_failed",
                )
            if asked:
                return BusyError(
                    f"{name} does not serve yet: {model.message}",
                    "GET /status says more",
                    code="not_ready",
                    retry_after_seconds=_RETRY_SECONDS if model.state == "failed" else None,
                )
        return unknown


async def answer_completion(
    completions: Completions,
    request: Request,
    body: CompletionBody | ChatCompletionBody,
    kind: Literal["text", "chat"],
) -> Response:
    """Answer a completion as OpenAI does.

    Raises:
        ServingError: The request cannot be answered.
    """
    answer_id = f"{'cmpl' if kind == 'text' else 'chatcmpl'}-{uuid.uuid4().hex}"
    created = int(time.time())
    return await completions.answer(
        request,
        body.model,
        body.to_request(),
        body.stream,
        lambda revision: CompletionFormat(kind, answer_id, created, body.model, revision, body.includes_usage),
    )


def completion_routes(completions: Completions) -> APIRouter:
    """`/v1/completions` and `/v1/chat/completions`."""
    router = APIRouter(prefix="/v1", tags=["inference"], dependencies=[Depends(verify_json)])

    @router.post("/completions", responses=_example("text"))
    async def complete(request: Request, body: CompletionBody) -> Response:
        """OpenAI's completions: prompts as text or as tokens; answers and stream chunks are OpenAI's."""
        return await answer_completion(completions, request, body, "text")

    @router.post("/chat/completions", responses=_example("chat"))
    async def chat(request: Request, body: ChatCompletionBody) -> Response:
        """OpenAI's chat completions, through the model's chat template; answers and stream chunks are OpenAI's."""
        return await answer_completion(completions, request, body, "chat")

    return router


def _example(kind: Literal["text", "chat"]) -> dict[int | str, dict[str, Any]]:
    """An answer for the OpenAPI document: of a specialization for a closed set, with the fields that it may have."""
    form = CompletionFormat(
        kind, "cmpl-1f0c" if kind == "text" else "chatcmpl-1f0c", 1_764_000_000, "desks", "merged-5d1e"
    )
    probabilities = {"billing": 0.04, "delivery": 0.96}
    whole = WholeAnswer("delivery", reason="stop")
    answer = form.whole([whole], TokenCounts(21, 1, 0), None if kind == "text" else probabilities)
    return {200: {"content": {"application/json": {"example": answer}}}}
