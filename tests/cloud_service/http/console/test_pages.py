"""What all pages of the console have in common."""

import httpx2

from cloud_service.access.scopes import RULES
from tests.cloud_service.http.console.page_reader import Page

PAGES = ("/console", "/console/devices", "/console/generate", "/console/jobs", "/console/keys", "/console/audit")


async def test_pages_are_whole_and_take_nothing_from_elsewhere(http: httpx2.AsyncClient) -> None:
    for path in (*PAGES, "/console/sign-in"):
        page = await http.get(path)
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert page.headers["cache-control"] == "no-store"
        # With "no-referrer" a browser would send forms with the origin "null", which is none of this service.
        assert page.headers["referrer-policy"] == "same-origin"
        found = Page(page.text)
        assert not found.faults, path
        assert len(found.headings) == 1
        assert page.text.count(f'<a href="{path}" aria-current="page">') == (path != "/console/sign-in")


async def test_files_never_change_under_their_address(http: httpx2.AsyncClient) -> None:
    page = (await http.get("/console")).text
    for name, kind in (("style.css", "text/css"), ("console.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        address = page.partition(f'"/console/files/{name}?')[2].partition('"')[0]
        assert len(address) == 16
        file = await http.get(f"/console/files/{name}?{address}")
        assert file.headers["content-type"].startswith(kind)
        assert "immutable" in file.headers["cache-control"]


FORMS = sorted(call.split(" ")[1] for call in RULES if call.startswith("POST /console"))


async def test_form_of_another_page_is_refused(http: httpx2.AsyncClient) -> None:
    foreign = (
        {"origin": "http://localhost:3000"},
        {"origin": "null"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
    )
    for template in FORMS:
        path = template.format(channel="kitchen", key_id="0" * 12, job_id="0" * 32)
        for headers in foreign:
            answer = await http.post(path, data={"description": "Sort."}, headers=headers)
            assert answer.status_code == 403, (path, headers)
        own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
        assert (await http.post(path, data={"description": "Sort."}, headers=own)).status_code != 403, path
