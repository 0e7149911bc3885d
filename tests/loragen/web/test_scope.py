"""Around every request: its id, its record, and the body of its error."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import structlog
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from loragen.web.error_answers import ErrorAnswers
from loragen.web.errors import ServiceError
from loragen.web.scope import RequestRecord, RequestScope, log_request, new_request_id, record_of


class FullError(ServiceError):
    code = "full"


@dataclass(slots=True, kw_only=True)
class CountedRecord(RequestRecord):
    tokens: int | None = None


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    scope["route"] = Route("/things/{name}", app)
    record: CountedRecord = record_of(scope)
    match scope["path"].rpartition("/")[2]:
        case "full":
            raise FullError("no room", "wait")
        case "cut":
            raise asyncio.CancelledError
        case "bug":
            raise RuntimeError("password=hunter2")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    record.tokens = 7
    if scope["path"].endswith("/half-cut"):
        raise asyncio.CancelledError
    if scope["path"].endswith("/half"):
        raise RuntimeError("password=hunter2")
    await send({"type": "http.response.body", "body": b"done"})


class Front:
    """The application behind its scope, and the records that were handed on."""

    def __init__(self) -> None:
        self.records: list[CountedRecord] = []
        answers = ErrorAnswers({FullError: 503}, ServiceError("internal error"))
        self.scope = RequestScope(app, answers, self.records.append, CountedRecord)

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        transport = httpx2.ASGITransport(self.scope)
        async with httpx2.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get(path, headers=headers)


async def test_one_record_is_handed_on_and_logged_for_each_request() -> None:
    front = Front()
    with capture_logs() as logged:
        response = await front.get("/things/one", **{"X-Request-ID": "abc-1"})
    assert response.headers["x-request-id"] == "abc-1"
    (record,) = front.records
    assert (record.request_id, record.method, record.route, record.status) == ("abc-1", "GET", "/things/{name}", 200)
    assert record.duration_seconds > 0
    (line,) = logged
    assert line.pop("duration_seconds") == record.duration_seconds
    assert line == {
        "event": "request",
        "log_level": "info",
        "request_id": "abc-1",
        "protocol": "http",
        "method": "GET",
        "route": "/things/{name}",
        "path": "/things/one",
        "status": 200,
        "tokens": 7,
    }


async def test_error_has_its_body_and_its_code_in_the_record() -> None:
    front = Front()
    response = await front.get("/things/full")
    error = response.json()["error"]
    assert response.status_code == 503
    assert error == {
        "code": "full",
        "message": "no room",
        "hint": "wait",
        "request_id": front.records[0].request_id,
        "documentation_url": "/errors#full",
    }
    assert (front.records[0].status, front.records[0].code) == (503, "full")


async def test_unforeseen_exception_tells_nothing_of_its_message() -> None:
    front = Front()
    with capture_logs() as logged:
        response = await front.get("/things/bug")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal")
    assert "hunter2" not in response.text + repr(logged)
    assert [line["log_level"] for line in logged] == ["error", "error"]


async def test_answer_that_is_cut_off_breaks_the_connection_without_the_message() -> None:
    """The server logs a traceback of what reaches it."""
    front = Front()
    with capture_logs() as logged, pytest.raises(RuntimeError, match="was cut off") as caught:
        await front.get("/things/half")
    assert caught.value.__suppress_context__
    assert (front.records[0].status, front.records[0].code) == (200, "internal")
    assert "hunter2" not in json.dumps(logged)


async def test_request_that_the_shutdown_cuts_off_is_refused() -> None:
    front = Front()
    response = await front.get("/things/cut")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "draining")
    assert response.headers["retry-after"] == "1"
    assert front.records[0].code == "draining"


async def test_answer_that_the_shutdown_cuts_off_breaks_the_connection() -> None:
    front = Front()
    with pytest.raises(RuntimeError, match="was cut off") as caught:
        await front.get("/things/half-cut")
    assert caught.value.__suppress_context__
    assert (front.records[0].status, front.records[0].code) == (200, "draining")


async def test_scope_that_is_no_request_passes_untouched() -> None:
    seen = []

    async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    scope = RequestScope(lifespan, ErrorAnswers({}, ServiceError("x")), seen.append, RequestRecord)
    await scope({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]


async def test_path_that_no_route_has_is_unmatched_and_cut() -> None:
    records: list[RequestRecord] = []
    scope = RequestScope(Router([]), ErrorAnswers({}, ServiceError("x")), records.append, RequestRecord)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(scope), base_url="http://here") as client:
        await client.get("/" + "x" * 500)
    assert (records[0].route, len(records[0].path), records[0].status) == ("unmatched", 200, 404)


@pytest.mark.parametrize(
    ("route", "failed", "level"),
    [("/a", False, "info"), ("/a", True, "error"), ("/health/ready", True, "debug"), ("/metrics", False, "debug")],
)
def test_probes_are_logged_as_details(route: str, failed: bool, level: str) -> None:
    with capture_logs() as logged:
        log_request(RequestRecord(request_id="a", route=route), failed=failed)
    assert (logged[0]["log_level"], logged[0]["status"]) == (level, "aborted")


def test_record_in_the_log_has_its_values_and_what_was_noted_besides() -> None:
    record = RequestRecord(request_id="a", method="GET", status=200, logged={"cached": True, "status": "another"})
    with capture_logs() as logged:
        log_request(record, failed=False)
    (line,) = logged
    assert (line["event"], line["cached"], line["status"]) == ("request", True, 200)
    assert not {"logged", "code", "path"} & set(line), "what there is nothing to say of is left out"


async def test_request_that_waited_on_its_connection_has_nothing_of_the_one_before() -> None:
    """The server begins it within the task of the request before it."""

    async def log(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/first":
            structlog.contextvars.bind_contextvars(secret="first")
        seen.append(structlog.contextvars.get_contextvars())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Message) -> None:
        pass

    seen: list[dict[str, Any]] = []
    scope = RequestScope(log, ErrorAnswers({}, ServiceError("x")), lambda record: None, RequestRecord)
    for path in ("/first", "/second"):
        request = {"type": "http", "method": "GET", "path": path, "headers": [(b"x-request-id", path[1:].encode())]}
        await scope(request, None, send)  # type: ignore[arg-type]
    assert seen == [{"request_id": "first", "secret": "first"}, {"request_id": "second"}]


@pytest.mark.parametrize(
    ("proposed", "kept"),
    [("abc-1.2_3", True), ("x" * 65, False), ("a b", False), ("a\n", False), ("", False), (None, False)],
)
def test_request_id_of_the_client_is_kept_when_it_is_harmless(proposed: str | None, kept: bool) -> None:
    made = new_request_id(proposed)
    assert (made == proposed) is kept
    assert len(made) == 32 or kept
