"""What passes the gate of a head: requests of bounded size, to our own hosts, by no page of another site."""

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from loragen.web.errors import HeadTooLargeError, HostError, OriginError
from loragen.web.head_gate import HeadGate
from loragen.web.hosts import AllowedHosts


async def passes(target: str = "/", **headers: str) -> bool:
    reached = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope)

    path, _, query = target.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "scheme": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
    }
    scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]
    gate = HeadGate(app, AllowedHosts.of("127.0.0.1", ["cloud"]))
    await gate(scope, None, None)  # type: ignore[arg-type]
    return reached == [scope]


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "cloud:8080"])
async def test_own_host_passes_with_and_without_an_own_origin(host: str) -> None:
    assert await passes(host=host)
    assert await passes(host=host, origin=f"http://{host}")
    assert await passes(host=host, origin="http://cloud:3000")
    assert await passes()


async def test_name_that_was_made_to_point_here_is_refused() -> None:
    with pytest.raises(HostError, match=r"evil\.example"):
        await passes(host="evil.example")


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "https://localhost.evil.example", "http://localhost:3000"]
)
async def test_page_of_another_site_is_refused(origin: str) -> None:
    with pytest.raises(OriginError):
        await passes(host="localhost", origin=origin)


@pytest.mark.parametrize("where", ["path", "query", "header"])
async def test_head_over_the_limit_is_refused_wherever_it_is_long(where: str) -> None:
    """20 KB that arrive in one packet pass the server's own limit."""
    long = "a" * 20_000
    target = {"path": f"/{long}", "query": f"/?{long}", "header": "/"}[where]
    with pytest.raises(HeadTooLargeError, match="at most 16384 bytes, found 20"):
        await passes(target, **({"x-a": long} if where == "header" else {}))
