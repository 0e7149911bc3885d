"""What holds for every route: HEAD beside GET, all methods in `Allow`, and a template for those that end early."""

from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Response
from pydantic import BaseModel
from starlette.middleware import Middleware

from loragen.web.body_gate import BodyGate
from loragen.web.error_answers import ErrorAnswers
from loragen.web.errors import ServiceError
from loragen.web.routes import find_route, include_routes
from loragen.web.scope import RequestRecord, RequestScope
from loragen.web.translation import install_translation


class Thing(BaseModel):
    name: str


def make_app(records: list[Any]) -> FastAPI:
    router = APIRouter(prefix="/things/{name}")

    @router.get("")
    async def read(name: str) -> Thing:
        return Thing(name=name)

    @router.get("/files/{file:path}")
    async def read_file(name: str, file: str) -> str:
        return file

    @router.put("/parts")
    async def put(name: str) -> Response:
        return Response()

    @router.delete("/parts")
    async def delete(name: str) -> Response:
        return Response()

    answers = ErrorAnswers({}, ServiceError("internal error"))
    scope = Middleware(RequestScope, answers=answers, finished=records.append, make_record=RequestRecord)
    gate = Middleware(BodyGate, max_bytes=10, timeout_seconds=None)
    app = FastAPI(middleware=[scope, gate], redirect_slashes=False)
    install_translation(app, invalid=ServiceError, malformed=ServiceError)
    include_routes(app, router)
    return app


@pytest.fixture
def records() -> list[RequestRecord]:
    return []


@pytest.fixture
async def client(records: list[Any]) -> Any:
    transport = httpx2.ASGITransport(make_app(records))
    async with httpx2.AsyncClient(transport=transport, base_url="http://here") as made:
        yield made


async def test_every_get_has_a_head(client: httpx2.AsyncClient) -> None:
    head, get = await client.head("/things/a"), await client.get("/things/a")
    assert head.status_code == get.status_code == 200
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_head_is_no_operation_of_its_own_in_the_document(client: httpx2.AsyncClient) -> None:
    assert set((await client.get("/openapi.json")).json()["paths"]["/things/{name}"]) == {"get"}


@pytest.mark.parametrize(("path", "allowed"), [("/things/a", "GET, HEAD"), ("/things/a/parts", "DELETE, PUT")])
async def test_allow_names_the_methods_of_all_routes_of_a_path(
    client: httpx2.AsyncClient, path: str, allowed: str
) -> None:
    response = await client.patch(path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(("path", "route"), [("/things/a/parts", "/things/{name}/parts"), ("/nothing", "unmatched")])
async def test_request_that_ends_before_its_route_is_reached_is_recorded_under_it(
    client: httpx2.AsyncClient, records: list[RequestRecord], path: str, route: str
) -> None:
    assert (await client.put(path, content=b"x" * 11)).status_code == 413
    assert records[0].route == route


@pytest.mark.parametrize("file", ["a", "a/b", "a/b/c/d"])
async def test_path_whose_parameter_has_several_parts_has_its_route(
    client: httpx2.AsyncClient, records: list[RequestRecord], file: str
) -> None:
    assert (await client.get(f"/things/a/files/{file}")).json() == file
    assert (await client.post(f"/things/a/files/{file}", content=b"x" * 11)).status_code == 413
    assert {record.route for record in records} == {"/things/{name}/files/{file:path}"}


@pytest.mark.parametrize("path", ["/", "", "//", "/things", "/things//parts", "/things/a/", "*"])
async def test_path_of_no_route_has_none(path: str) -> None:
    scope = {"type": "http", "method": "GET", "path": path, "app": make_app([]), "headers": [], "root_path": ""}
    assert find_route(scope) == (None, {})
