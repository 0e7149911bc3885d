"""API keys, for people."""

import re

import httpx2
import pytest

from cloud_service.access.key_service import KeyRequest
from cloud_service.access.scopes import Scope
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.http.console.page_reader import Page
from tests.cloud_service.http.console.people import signed_in

FORM = {"name": "ci", "scope-read": "yes", "lifetime": "86400"}


def _token(page: str) -> str:
    found = re.search(r'<code id="new-key" class="secret">(loragen_\w+)</code>', page)
    assert found is not None
    return found[1]


async def test_key_is_made_shown_once_rotated_and_revoked(guarded: Guarded) -> None:
    async with signed_in(guarded, Scope.ADMIN) as admin:
        made = await admin.post("/console/keys", data=FORM)
        assert made.status_code == 200
        assert made.headers["cache-control"] == "no-store"
        assert not Page(made.text).faults
        token = _token(made.text)
        key_id = token.split("_")[1]
        bearer = {"authorization": f"Bearer {token}"}
        assert (await guarded.http.get("/channels", headers=bearer)).status_code == 200
        assert (await guarded.http.get("/keys", headers=bearer)).status_code == 403
        listed = (await admin.get("/console/keys")).text
        assert key_id in listed
        assert token not in listed
        rotated = await admin.post(f"/console/keys/{key_id}", data={"action": "rotate", "grace_seconds": "3600"})
        assert _token(rotated.text) != token
        revoked = await admin.post(f"/console/keys/{key_id}", data={"action": "revoke"})
        assert f"The key {key_id} is revoked." in revoked.text
        assert '<span class="state revoked">' in revoked.text
        again = await admin.post(f"/console/keys/{key_id}", data={"action": "rotate", "grace_seconds": "0"})
        assert again.status_code == 422


async def test_key_is_in_no_log(guarded: Guarded, capsys: pytest.CaptureFixture[str]) -> None:
    async with signed_in(guarded, Scope.ADMIN) as admin:
        token = _token((await admin.post("/console/keys", data=FORM)).text)
        ((_, session),) = admin.cookies.items()
    log = capsys.readouterr().out
    assert "/console/keys" in log
    assert token.split("_")[2] not in log
    assert session not in log


async def test_first_key_begins_the_asking(http: httpx2.AsyncClient) -> None:
    assert "There is no key." in (await http.get("/console/keys")).text
    made = await http.post("/console/keys", data={"name": "first", "scope-admin": "yes", "lifetime": "0"})
    assert "First" not in made.text
    token = _token(made.text)
    answer = await http.post("/console/sign-in", data={"key": token})
    assert answer.status_code == 303


NO_FORMS: tuple[dict[str, str], ...] = (
    {},
    {"name": "x", "lifetime": "86400"},
    {"name": "", "scope-read": "yes", "lifetime": "86400"},
    {"name": "x", "scope-read": "yes", "lifetime": "-5"},
    {"name": "x", "scope-read": "yes", "lifetime": "1e30"},
    {"name": "x", "scope-device": "yes", "lifetime": "0"},
    {"name": "x", "scope-read": "yes", "device": "dev-1", "lifetime": "0"},
    {"name": "x" * 101, "scope-read": "yes", "lifetime": "0"},
    {"name": "x", "scope-read": "yes", "tenant": "../x", "lifetime": "0"},
)


async def test_form_that_is_none_makes_no_key_and_keeps_what_was_entered(http: httpx2.AsyncClient) -> None:
    for form in NO_FORMS:
        page = await http.post("/console/keys", data=form)
        assert page.status_code == 422, form
        assert 'role="alert"' in page.text
        assert "new-key" not in page.text
        if form.get("name"):
            assert f'value="{form["name"]}"' in page.text
    assert (await http.get("/keys")).json()["keys"] == []


async def test_change_that_is_none_changes_nothing(guarded: Guarded) -> None:
    forms = ({}, {"action": "eat"}, {"action": "rotate"}, {"action": "rotate", "grace_seconds": "-1"})
    async with signed_in(guarded, Scope.ADMIN) as admin:
        key_id = _token((await admin.post("/console/keys", data=FORM)).text).split("_")[1]
        for form in forms:
            assert (await admin.post(f"/console/keys/{key_id}", data=form)).status_code == 422, form
        assert (await admin.post(f"/console/keys/{'0' * 12}", data={"action": "revoke"})).status_code == 404
        assert '<span class="state revoked">' not in (await admin.get("/console/keys")).text


async def test_many_keys_with_hostile_names_come_page_by_page(guarded: Guarded) -> None:
    names = ("<script>alert(1)</script>", "'\"><b>", "\u202egnirts", "n" * 100)
    for number in range(120):
        await guarded.cloud.access.keys.create(KeyRequest(names[number % 4], (Scope.READ,)))
    async with signed_in(guarded, Scope.ADMIN) as admin:
        first = await admin.get("/console/keys")
        found = Page(first.text)
        assert not found.faults
        assert "b" not in found.tags
        assert "&lt;script&gt;alert(1)" in first.text
        second = await admin.get(next(link for link in found.links if "after=" in link))
        assert second.text.count('<th scope="row">') == 21


async def test_admin_of_a_tenant_sees_and_makes_keys_of_it_alone(guarded: Guarded) -> None:
    async with signed_in(guarded, Scope.ADMIN) as operator, signed_in(guarded, Scope.ADMIN, tenant="acme") as admin:
        theirs = _token((await operator.post("/console/keys", data=FORM)).text).split("_")[1]
        made = await admin.post("/console/keys", data=FORM)
        assert _token(made.text)
        assert theirs not in made.text
        assert (await admin.post(f"/console/keys/{theirs}", data={"action": "revoke"})).status_code == 404
        assert (await admin.post("/console/keys", data={**FORM, "tenant": "other"})).status_code == 403
