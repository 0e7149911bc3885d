"""The console, page by page."""

from html.parser import HTMLParser

import httpx2
import pytest

from cloud_service.bootstrap import Cloud
from cloud_service.store import DeviceEntry
from loragen.contract.channel import parse_channel

PAGES = ("/console", "/console/channels/kitchen", "/console/channels/kitchen/diff?old=1", "/console/devices")


class _Fields(HTMLParser):
    """Finds form fields that no label names, and everything that comes from elsewhere."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.unnamed: list[str] = []
        self.foreign: list[str] = []
        self.headings = 0
        self._labelled: set[str] = set()
        self._fields: list[dict[str, str | None]] = []
        self._depth = 0
        self.feed(page)
        self.unnamed = [str(field) for field in self._fields if field.get("id") not in self._labelled]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = dict(attrs)
        self.headings += tag == "h1"
        self.foreign += [url for name in ("src", "href", "action") if (url := fields.get(name)) and "//" in url]
        if tag == "script" or any(name.startswith("on") or name == "style" for name in fields):
            self.foreign.append(tag)
        if tag == "label":
            self._depth += 1
            self._labelled.add(fields.get("for") or "")
        if tag in ("input", "textarea", "progress", "meter") and fields.get("type") != "hidden" and not self._depth:
            self._fields.append(fields)

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag == "label"


async def _bundle(http: httpx2.AsyncClient, text: str) -> str:
    bundle_id: str = (await http.post("/generate-lora", json={"description": text})).json()["id"]
    return bundle_id


async def _digest(http: httpx2.AsyncClient) -> str:
    return (await http.get("/channels/kitchen")).headers["etag"].strip('"')


async def test_pages_are_whole_and_take_nothing_from_elsewhere(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    for text in ("first", "second"):
        await http.put("/channels/kitchen/specializations/mail", json={"bundle_id": await _bundle(http, text)})
    await cloud.devices.report(DeviceEntry("kitchen", "toaster", 2, ("f" * 64,), {"ring": "canary"}), b"{}")
    made = await http.post("/console/generate", data={"description": "Sort.", "examples": "a => b", "choices": "b,c"})
    for page in [made, *[await http.get(path) for path in (*PAGES, "/console/generate")]]:
        assert page.status_code == 200
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert page.headers["cache-control"] == "no-store"
        found = _Fields(page.text)
        assert (found.unnamed, found.foreign, found.headings) == ([], [], 1)
    assert (await http.get("/console/style.css")).headers["content-type"].startswith("text/css")
    assert "toaster" in (await http.get("/console/devices?labels=ring=canary&failing=true")).text
    assert "toaster" not in (await http.get("/console/devices?channel=garden")).text


async def test_what_clients_wrote_is_shown_as_text(http: httpx2.AsyncClient) -> None:
    page = await http.post("/console/generate", data={"description": "<script>alert(1)</script>"})
    assert page.status_code == 200
    assert "&lt;script&gt;" in page.text
    assert "<script" not in page.text
    page = await http.get("/console/devices", params={"channel": '"><b>'})
    assert page.status_code == 422
    assert "<b>" not in page.text


async def test_channel_is_changed_from_publish_to_going_back(http: httpx2.AsyncClient) -> None:
    first, second = await _bundle(http, "first"), await _bundle(http, "second")
    page = await http.post("/console", data={"channel": "kitchen", "name": "mail", "bundle_id": first})
    assert f"mail is {first} since version 1." in page.text
    path = "/console/channels/kitchen"
    form = {"digest": await _digest(http), "name": "mail", "bundle_id": second}
    assert (await http.post(path, data={**form, "action": "publish"})).status_code == 200
    stale = await http.post(path, data={**form, "action": "withdraw"})
    assert stale.status_code == 412
    assert "Not done:" in stale.text
    back = await http.post(path, data={"action": "rollback", "version": "1", "digest": await _digest(http)})
    assert "Version 3 has the content of version 1." in back.text
    gone = await http.post(path, data={"action": "withdraw", "name": "mail", "digest": await _digest(http)})
    assert "It lists nothing." in gone.text
    assert parse_channel((await http.get("/channels/kitchen")).content).version == 4


async def test_rollout_from_start_to_end(http: httpx2.AsyncClient) -> None:
    first, second = await _bundle(http, "first"), await _bundle(http, "second")
    await http.put("/channels/kitchen/specializations/mail", json={"bundle_id": first})
    path = "/console/channels/kitchen"
    form = {"name": "mail", "bundle_id": second, "percent": "10", "labels": "ring=canary", "halt_failing_percent": "5"}
    started = await http.post(path, data={**form, "action": "start", "digest": await _digest(http)})
    assert "The rollout of version 2 has begun." in started.text
    assert '<progress id="updated"' in started.text
    wider = await http.post(path, data={"action": "widen", "version": "2", "percent": "50", "labels": ""})
    assert "50 % of all devices" in wider.text
    for action, told in (("paused", "is paused"), ("running", "is running"), ("promoted", "is promoted")):
        assert told in (await http.post(path, data={"action": action, "version": "2"})).text
    assert (await http.post(path, data={"action": "aborted", "version": "2"})).status_code == 409


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"action": "format"},
        {"action": "publish", "name": "../x", "bundle_id": "0" * 64},
        {"action": "publish", "name": "x", "bundle_id": "x"},
        {"action": "rollback", "version": "x"},
        {"action": "rollback", "version": "0"},
        {"action": "start", "percent": "nan", "halt_failing_percent": "5"},
        {"action": "start", "percent": "5", "labels": "Ring", "halt_failing_percent": "5"},
        {"action": "widen", "version": "inf", "percent": "5"},
    ],
)
async def test_form_that_is_none_is_refused_on_the_same_page(http: httpx2.AsyncClient, form: dict[str, str]) -> None:
    await http.put("/channels/kitchen/specializations/mail", json={"bundle_id": await _bundle(http, "first")})
    page = await http.post("/console/channels/kitchen", data=form)
    assert page.status_code == 422
    assert 'role="alert"' in page.text
    assert "<h1>Channel kitchen</h1>" in page.text


@pytest.mark.parametrize(
    "headers",
    [{"origin": "http://localhost:3000"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "cross-site"}],
)
async def test_form_of_another_page_is_refused(http: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    for path in ("/console", "/console/channels/kitchen", "/console/generate"):
        assert (await http.post(path, data={"description": "Sort."}, headers=headers)).status_code == 403
    own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert (await http.post("/console/generate", data={"description": "Sort."}, headers=own)).status_code == 200


async def test_page_of_nothing_says_so(http: httpx2.AsyncClient) -> None:
    missing = await http.get("/console/channels/never-used")
    assert missing.status_code == 404
    assert "no channel" in missing.text
    refused = await http.post("/console/generate", data={"description": "", "examples": "no arrow"})
    assert (refused.status_code, "in line 1" in refused.text) == (422, True)
