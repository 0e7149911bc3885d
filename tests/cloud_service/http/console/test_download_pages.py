"""Bundles and recipes, for a browser."""

from cloud_service.access.scopes import Scope
from loragen.contract.digest import sha256_hex
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.http.console.page_reader import Page
from tests.cloud_service.http.console.people import signed_in


async def test_every_link_to_bytes_gives_them_to_who_is_signed_in(guarded: Guarded) -> None:
    async with (
        signed_in(guarded, Scope.GENERATE, Scope.PUBLISH, Scope.READ, tenant="acme") as person,
        signed_in(guarded, Scope.READ, Scope.GENERATE, tenant="other") as other,
    ):
        page = await person.post("/console/generate", data={"description": "Sort."})
        links = {link for link in Page(page.text).links if link.startswith(("/console/bundles/", "/console/recipes/"))}
        assert len(links) == 2
        for link in links:
            found = await person.get(link)
            assert f'"{sha256_hex(found.content)}"' == found.headers["etag"]
            assert (await person.head(link)).headers["cache-control"].startswith("private")
            assert (await other.get(link)).status_code == 404
            assert (await guarded.http.get(link)).status_code == 303
        bundle = next(link for link in links if "bundles" in link)
        bundle_id = (await person.get(bundle)).headers["etag"].strip('"')
        form = {"channel": "acme.kitchen", "name": "mail", "bundle_id": bundle.rpartition("/")[2]}
        listed = Page((await person.post("/console", data=form)).text)
        assert f"/console/bundles/{bundle_id}" in listed.links


async def test_bytes_that_are_not_there_are_a_page(guarded: Guarded) -> None:
    async with signed_in(guarded, Scope.READ) as person:
        for kind in ("bundles", "recipes"):
            assert (await person.get(f"/console/{kind}/{'0' * 64}")).status_code == 404
            assert (await person.get(f"/console/{kind}/x")).status_code == 422
