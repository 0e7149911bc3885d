"""Signing in to the console and out of it."""

import httpx2

from cloud_service.access.scopes import Scope
from tests.cloud_service.clouds import client_of
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.http.console.page_reader import Page
from tests.cloud_service.http.console.people import signed_in, token_of

SECTIONS = {"/console", "/console/devices", "/console/generate", "/console/jobs", "/console/keys", "/console/audit"}


async def test_person_signs_in_and_out_and_the_session_is_none_afterwards(guarded: Guarded) -> None:
    http = guarded.http
    asked = await http.get("/console/devices?channel=a&failing=true")
    assert asked.status_code == 303
    form = await http.get(asked.headers["location"])
    assert '<input type="hidden" name="next" value="/console/devices?channel=a&amp;failing=true">' in form.text
    assert not Page(form.text).faults
    token = await token_of(guarded, Scope.READ)
    answer = await http.post(
        "/console/sign-in", data={"key": f" {token} ", "next": "/console/devices?channel=a&failing=true"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/devices?channel=a&failing=true")
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=lax", "Path=/console", "Max-Age=43200"))
    assert "Secure" not in cookie
    assert token not in cookie
    page = await http.get("/console")
    assert page.status_code == 200
    assert "Sign out" in page.text
    session = dict(http.cookies)
    out = await http.post("/console/sign-out")
    assert "You are signed out." in out.text
    async with client_of(guarded.cloud) as thief:
        thief.cookies.update(session)
        assert (await thief.get("/console")).status_code == 303


async def test_session_ends_with_its_key_and_is_good_for_the_console_alone(guarded: Guarded) -> None:
    token = await token_of(guarded, Scope.READ)
    async with client_of(guarded.cloud) as browser:
        await browser.post("/console/sign-in", data={"key": token})
        ((name, session),) = browser.cookies.items()
        assert (await browser.get("/console")).status_code == 200
        cookie = {"cookie": f"{name}={session}"}
        assert (await guarded.http.get("/channels", headers=cookie)).status_code == 401
        bearer = {"authorization": f"Bearer {session}"}
        assert (await guarded.http.get("/console", headers=bearer)).status_code == 303
        await guarded.cloud.access.keys.revoke(token.split("_")[1])
        assert (await browser.get("/console")).status_code == 303


async def test_page_offers_what_the_key_is_good_for(guarded: Guarded) -> None:
    for scopes, first, sections in (
        ((Scope.READ,), "/console", {"/console", "/console/devices", "/console/jobs"}),
        ((Scope.GENERATE,), "/console/generate", {"/console/generate", "/console/jobs"}),
        ((Scope.ADMIN,), "/console", SECTIONS),
    ):
        async with client_of(guarded.cloud) as browser:
            answer = await browser.post("/console/sign-in", data={"key": await token_of(guarded, *scopes)})
            assert answer.headers["location"] == first
            page = Page((await browser.get(first)).text)
            assert SECTIONS & set(page.links) - {"/console"} == sections - {"/console"}
            for path in SECTIONS - sections:
                refused = await browser.get(path)
                assert refused.status_code == 403, path
                assert "expected a key with the scope" in refused.text
    async with signed_in(guarded, Scope.ADMIN, tenant="acme") as admin:
        page = Page((await admin.get("/console/keys")).text)
        assert set(page.links) >= SECTIONS - {"/console"}


async def test_key_that_opens_no_page_is_refused(guarded: Guarded) -> None:
    for scope, device in ((Scope.PUBLISH, ""), (Scope.DEVICE, "dev-1")):
        answer = await guarded.http.post(
            "/console/sign-in", data={"key": await token_of(guarded, scope, device=device)}
        )
        assert answer.status_code == 403
        assert "opens no page here" in answer.text
        assert "set-cookie" not in answer.headers


async def test_what_is_no_key_signs_nobody_in(guarded: Guarded) -> None:
    for key in ("", "nonsense", "x" * 5_000, "loragen_000000000000_" + "0" * 49, "é\r\nx"):
        answer = await guarded.http.post("/console/sign-in", data={"key": key})
        assert answer.status_code == 401
        assert 'role="alert"' in answer.text
        assert "set-cookie" not in answer.headers
        assert not key or key not in answer.text


async def test_nobody_is_led_elsewhere_after_signing_in(guarded: Guarded) -> None:
    key = await token_of(guarded, Scope.READ)
    elsewhere = ("https://evil.example/", "//evil.example", "/channels", "/console.evil", "/console/sign-in", "\\evil")
    for path in elsewhere:
        answer = await guarded.http.post("/console/sign-in", data={"key": key, "next": path})
        assert answer.headers["location"] == "/console", path


async def test_cookie_that_is_no_session_is_nobody(guarded: Guarded) -> None:
    for cookie in ("loragen-console=", "loragen-console=x", f"loragen-console={'x' * 8_000}", "=;;==", "\xff"):
        answer = await guarded.http.get("/console", headers={"cookie": cookie.encode("latin-1")})
        assert answer.status_code == 303


async def test_form_of_another_page_signs_nobody_in_or_out(guarded: Guarded) -> None:
    token = await token_of(guarded, Scope.READ)
    async with signed_in(guarded, Scope.READ) as browser:
        for path in ("/console/sign-in", "/console/sign-out"):
            answer = await browser.post(path, data={"key": token}, headers={"origin": "http://localhost:3000"})
            assert answer.status_code == 403
        assert (await browser.get("/console")).status_code == 200


async def test_service_without_keys_lets_everybody_in(http: httpx2.AsyncClient) -> None:
    page = await http.get("/console", headers={"cookie": "loragen-console=of-another-time"})
    assert page.status_code == 200
    assert "everybody who reaches this address may do everything" in page.text
    answer = await http.post("/console/sign-in", data={"key": "whatever"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    assert "set-cookie" not in answer.headers
