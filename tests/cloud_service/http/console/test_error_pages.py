"""Errors of the console are pages."""

import httpx2
import pytest

from cloud_service.access.scopes import Scope
from cloud_service.bootstrap import Cloud
from cloud_service.errors import StoreUnavailableError
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.http.console.page_reader import Page
from tests.cloud_service.http.console.people import signed_in


async def test_store_that_is_away_is_reported_on_a_page(
    cloud: Cloud, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailableError("the store is not available")

    monkeypatch.setattr(cloud.channels, "list_channels", away)
    monkeypatch.setattr(cloud.devices, "find", away)
    monkeypatch.setattr(cloud.access.keys, "page", away)
    monkeypatch.setattr(cloud.access.audit, "page", away)
    monkeypatch.setattr(cloud.jobs, "list", away)
    for path in ("/console", "/console/devices", "/console/keys", "/console/audit", "/console/jobs"):
        page = await http.get(path)
        assert page.status_code == 503, path
        assert "the store is not available" in page.text
        assert page.headers["retry-after"]
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        found = Page(page.text)
        assert not found.faults
        assert "/console/generate" in found.links


NOTHING = (
    ("GET", "/console/nothing", 404),
    ("PUT", "/console", 405),
    ("GET", "/console/channels/%3Cscript%3E", 422),
    ("GET", "/console/jobs/x", 422),
    ("GET", f"/console/jobs/{'0' * 32}", 404),
    ("GET", f"/console/recipes/{'0' * 64}/gates.png", 404),
    ("GET", "/console/keys?after=../x", 422),
    ("GET", "/console/audit?before=x", 422),
    ("GET", "/console/files/../base.html", 404),
    ("GET", "/console/files/base.html", 404),
    ("POST", "/console/keys/x", 422),
)


async def test_what_is_not_there_is_reported_on_a_page(http: httpx2.AsyncClient) -> None:
    for method, path, status in NOTHING:
        page = await http.request(method, path)
        assert page.status_code == status, path
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert 'role="alert"' in page.text
        assert "<script>" not in page.text


async def test_unexpected_error_says_nothing_of_itself(
    cloud: Cloud, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(cloud.channels, "list_channels", broken)
    page = await http.get("/console")
    assert page.status_code == 500
    assert "internal error" in page.text
    assert "secret" not in page.text


async def test_form_of_somebody_who_is_signed_out_is_not_lost(guarded: Guarded) -> None:
    page = await guarded.http.post("/console/keys", data={"name": "x"})
    assert page.status_code == 401
    assert "What you entered is not lost" in page.text


async def test_api_still_answers_in_json(guarded: Guarded) -> None:
    assert (await guarded.http.get("/channels")).json()["error"]["code"] == "unauthenticated"
    async with signed_in(guarded, Scope.READ) as browser:
        assert (await browser.get("/consoles")).json()["error"]["code"] == "unauthenticated"
