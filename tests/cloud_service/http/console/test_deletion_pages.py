"""Bundles, recipes and channels are deleted in the console, as the API does, and by its own forms alone."""

import httpx2
import pytest

from cloud_service.access.scopes import Scope
from tests.cloud_service.clouds import make_bundle
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.http.console.page_reader import Page
from tests.cloud_service.http.console.people import signed_in

BUNDLES = "/console/bundles"
KITCHEN = "/console/channels/kitchen"


@pytest.mark.parametrize("by", ["bundle", "recipe"])
async def test_bundle_and_recipe_are_deleted_by_the_id_of_either(http: httpx2.AsyncClient, by: str) -> None:
    bundle_id = await make_bundle(http, "Sort.")
    made = await http.post("/console/generate", data={"description": "Sort."})
    assert "Delete this LoRA" in made.text
    assert not Page(made.text).faults
    recipe_id = (await http.post("/generate-lora", json={"description": "Sort."})).json()["recipe_id"]
    either_id = {"bundle": bundle_id, "recipe": recipe_id}[by]
    done = await http.post(BUNDLES, data={"bundle_id": either_id})
    assert (done.status_code, f"{either_id} is deleted." in done.text) == (200, True)
    assert not Page(done.text).faults
    for path in (f"/bundles/{bundle_id}", f"/recipes/{recipe_id}"):
        assert (await http.get(path)).status_code == 404
    again = await http.post(BUNDLES, data={"bundle_id": either_id})
    assert (again.status_code, "Not done:" in again.text) == (404, True)


async def test_what_is_in_use_and_what_is_no_id_is_refused(http: httpx2.AsyncClient) -> None:
    bundle_id = await make_bundle(http, "Sort.")
    await http.put("/channels/kitchen/specializations/mail", json={"bundle_id": bundle_id})
    refused = await http.post(BUNDLES, data={"bundle_id": bundle_id})
    assert refused.status_code == 409
    assert "kitchen" in refused.text
    assert (await http.get(f"/bundles/{bundle_id}")).status_code == 200
    for wrong in ({}, {"bundle_id": "../recipes"}, {"bundle_id": "<b>"}):
        answer = await http.post(BUNDLES, data=wrong)
        assert answer.status_code == 422
        assert "<b>" not in answer.text


async def test_channel_is_deleted_as_it_was_seen(http: httpx2.AsyncClient) -> None:
    bundle_id = await make_bundle(http, "Sort.")
    await http.put("/channels/kitchen/specializations/mail", json={"bundle_id": bundle_id})
    page = await http.get(KITCHEN)
    assert "Delete channel kitchen" in page.text
    assert not Page(page.text).faults
    seen = (await http.get("/channels/kitchen")).headers["etag"].strip('"')
    await http.put("/channels/kitchen/specializations/post", json={"bundle_id": bundle_id})
    stale = await http.post(KITCHEN, data={"action": "delete", "digest": seen})
    assert (stale.status_code, "Not done:" in stale.text) == (412, True)
    seen = (await http.get("/channels/kitchen")).headers["etag"].strip('"')
    done = await http.post(KITCHEN, data={"action": "delete", "digest": seen})
    assert (done.status_code, "Channel kitchen is deleted." in done.text) == (200, True)
    assert (await http.get("/channels/kitchen")).status_code == 404


async def test_form_of_another_site_deletes_nothing(http: httpx2.AsyncClient) -> None:
    bundle_id = await make_bundle(http, "Sort.")
    await http.put("/channels/kitchen/specializations/mail", json={"bundle_id": await make_bundle(http, "Other.")})
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "http://evil.example"}):
        for path, form in ((BUNDLES, {"bundle_id": bundle_id}), (KITCHEN, {"action": "delete"})):
            assert (await http.post(path, data=form, headers=headers)).status_code == 403
    assert (await http.get(f"/bundles/{bundle_id}")).status_code == 200
    assert (await http.get("/channels/kitchen")).status_code == 200


async def test_button_is_for_whoever_may_use_it(guarded: Guarded) -> None:
    made = {"description": "Sort."}
    async with signed_in(guarded, Scope.READ, Scope.GENERATE) as reader:
        assert "Delete" not in (await reader.get("/console")).text
        assert "Delete" not in (await reader.post("/console/generate", data=made)).text
        assert (await reader.post(BUNDLES, data={"bundle_id": "0" * 64})).status_code == 403
    async with signed_in(guarded, Scope.READ, Scope.GENERATE, Scope.PUBLISH, tenant="acme") as publisher:
        page = await publisher.post("/console/generate", data=made)
        assert "Delete this LoRA" in page.text
        assert (await publisher.post(BUNDLES, data={"bundle_id": "0" * 64})).status_code == 404
