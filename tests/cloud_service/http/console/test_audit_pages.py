"""The audit log, for people."""

import httpx2
import pytest

from cloud_service.bootstrap import Cloud
from cloud_service.http.console import audit_pages
from tests.cloud_service.http.console.page_reader import Page


async def test_changes_are_shown_filtered_and_paged(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    assert "Nothing was changed yet." in (await http.get("/console/audit")).text
    for number in range(120):
        await cloud.access.audit.record("channel.publish", channel=f"kitchen-{number % 2}", number=number)
    await cloud.access.audit.record("key.revoke", key="0123456789ab", name="<script>alert(1)</script>")
    first = await http.get("/console/audit")
    assert "&lt;script&gt;" in first.text
    assert not Page(first.text).faults
    assert first.text.count('<th scope="row"') == 50
    keys = (await http.get("/console/audit?action=key.")).text
    assert keys.count('<th scope="row"') == 1
    page, seen = "/console/audit?target=kitchen-1", 0
    while page:
        answer = Page(text := (await http.get(page)).text)
        seen += text.count('<th scope="row" class="line">channel.publish')
        page = next((link for link in answer.links if "before=" in link), "")
    assert seen == 60


async def test_entries_are_found_by_the_key_that_made_them(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    await cloud.access.audit.record("channel.publish", channel="kitchen")
    for key, count in (("service", 1), ("SERV", 1), ("nobody", 0)):
        text = (await http.get("/console/audit", params={"key": key})).text
        assert text.count('<th scope="row"') == count
    assert "No entry fits." in text


async def test_page_that_finds_little_looks_at_a_bounded_number(
    cloud: Cloud, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_pages, "_CHUNK", 5)
    monkeypatch.setattr(audit_pages, "MOST_SCANNED", 10)
    await cloud.access.audit.record("key.create", key="first")
    for _ in range(12):
        await cloud.access.audit.record("channel.publish", channel="kitchen")
    page = await http.get("/console/audit?action=key.")
    assert "Of the entries that were looked at, none fits." in page.text
    older = next(link for link in Page(page.text).links if "before=" in link)
    assert (await http.get(older)).text.count('<th scope="row"') == 1


async def test_filter_that_is_too_long_is_refused(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/console/audit", params={"target": "x" * 201})).status_code == 422
