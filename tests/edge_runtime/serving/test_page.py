"""The device's page: complete without scripts and network, and deaf to what names and answers try."""

from dataclasses import replace
from html.parser import HTMLParser

import httpx2
import pytest

from edge_runtime.errors import BusyError
from edge_runtime.serving.page import MAX_PROMPT_CHARS, render_page
from edge_runtime.serving.slots import SlotTable
from loragen.device_answers import DeviceStatus, ServedModel
from tests.edge_runtime.serving.fake_device import BUNDLE, FakeDevice

HOSTILE = "<script>alert(1)</script>\"'><img src=//evil.example onerror=alert(1)>"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Tags(HTMLParser):
    """All tags of a page, and all values of their attributes that a browser would load or send something to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.handlers: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.targets += [value or "" for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]
        self.handlers += [name for name, _ in attrs if name.startswith("on") or name == "style"]


async def test_page_shows_what_serves_and_what_failed(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.text
    for shown in ("org/Tiny-Edge", "router", "merged", BUNDLE[:12], "0.980", "on its way", "digest_mismatch"):
        assert shown in page
    assert '<option value="late"' not in page
    found = Tags(page)
    assert found.targets == ["data:,", "/#answer"]
    assert found.handlers == []
    assert "script" not in found.tags


async def test_policy_forbids_everything_but_the_page_itself(client: httpx2.AsyncClient) -> None:
    headers = (await client.get("/")).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["style-src"].startswith("'sha256-")
    assert (policy["form-action"], policy["base-uri"], policy["frame-ancestors"]) == ("'self'", "'none'", "'none'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    # With "no-referrer" a browser would send the form with the origin "null", which is no host of this device.
    assert headers["referrer-policy"] == "same-origin"


async def test_prompt_is_answered_on_the_page(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/", content="model=router&prompt=Paris%3F", headers=FORM)
    assert answer.status_code == 200
    assert "get_weather" in answer.text
    assert "Paris?</textarea>" in answer.text
    assert '<option value="router" selected>' in answer.text


async def test_lines_end_as_they_do_over_the_interface_for_programs(client: httpx2.AsyncClient) -> None:
    """A browser sends a form's lines with carriage returns, which no model has seen."""
    answer = await client.post("/", content="model=router&prompt=one%0D%0Atwo%0Dthree", headers=FORM)
    assert answer.status_code == 200
    assert "one\ntwo\rthree</textarea>" in answer.text


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", FORM, 400),
        (b"model=router", FORM, 400),
        (b"model=router&prompt=", FORM, 400),
        (b"model=&prompt=x", FORM, 400),
        (b"model=router&prompt=%ff%fe", FORM, 400),
        (b"\xff\xfe", FORM, 400),
        (b"&".join([b"a=1"] * 50), FORM, 400),
        (b"model=router&prompt=" + b"x" * (MAX_PROMPT_CHARS + 1), FORM, 400),
        (b'{"model": "router", "prompt": "x"}', {"Content-Type": "application/json"}, 400),
        (b"model=router&prompt=x", {}, 400),
        (b"model=nothing&prompt=x", FORM, 404),
        (b"model=late&prompt=x", FORM, 503),
    ],
)
async def test_bad_form_is_reported_on_the_page(
    client: httpx2.AsyncClient, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post("/", content=content, headers=headers)
    assert answer.status_code == status
    assert '<pre class="bad" role="alert">' in answer.text
    assert "</html>" in answer.text


async def test_page_of_another_site_cannot_send_the_form(client: httpx2.AsyncClient) -> None:
    for origin in ("http://evil.example", "http://localhost:3000", "null"):
        answer = await client.post("/", content="model=router&prompt=x", headers={**FORM, "Origin": origin})
        assert answer.status_code == 403
    same = await client.post("/", content="model=router&prompt=x", headers={**FORM, "Origin": "http://localhost"})
    assert same.status_code == 200


async def test_error_of_the_model_is_reported_on_the_page(
    client: httpx2.AsyncClient, slots: SlotTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(name: str) -> None:
        raise BusyError("all are <busy>", "ask <again>")

    monkeypatch.setattr(slots, "lease", busy)
    answer = await client.post("/", content="model=router&prompt=x", headers=FORM)
    assert answer.status_code == 503
    assert "all are &lt;busy&gt;\nask &lt;again&gt;" in answer.text


def test_whatever_comes_from_elsewhere_is_text() -> None:
    """Names, messages, ids and answers: each in every place where the page shows it."""
    status = DeviceStatus(
        HOSTILE,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        False,
        HOSTILE,
        reason=HOSTILE,
        last_poll=HOSTILE,
        last_poll_message=HOSTILE,
        problem=HOSTILE,
        models=(
            ServedModel(HOSTILE, "merged", HOSTILE, message=HOSTILE),
            ServedModel(HOSTILE, "failed", message=HOSTILE),
        ),
    )
    failure = dict.fromkeys(("at", "step", "name", "outcome", "message"), HOSTILE)
    found = Tags(render_page(status, {}, [failure], model=HOSTILE, prompt=HOSTILE))
    clean = Tags(render_page(FakeDevice().status(), {}, []))
    assert set(found.tags) <= set(clean.tags)
    assert (found.targets, found.handlers) == (["data:,", "/#answer"], [])


def test_page_knows_speed_and_memory() -> None:
    status = DeviceStatus(
        "dev", "0", "tiny", "Q4_K", True, "default", memory_bytes=123_400_000, models=(ServedModel("a", "adapter"),)
    )
    page = render_page(status, {"a": 41.27}, [])
    assert "123 MB" in page
    assert "<td>41.3</td>" in page


def test_page_of_a_device_that_serves_nothing_says_so() -> None:
    status = DeviceStatus("dev", "0", "tiny", "Q4_K", False, "default", reason="no base model")
    page = render_page(status, {}, [])
    assert '<span class="bad">no base model</span>' in page
    assert "Nothing serves yet." in page
    assert "<form" not in page
    assert Tags(page).tags.count("table") == 1


def test_columns_without_values_leave_room_for_reasons() -> None:
    """Only what is merged has figures; on a device of run-time adapters empty columns hid why something failed."""
    plain = ServedModel("late", "failed", message="why")
    merged = ServedModel("mails", "merged", "ab" * 32, retained_delta=0.98, agreement=0.9)
    status = DeviceStatus("dev", "0", "tiny", "Q4_K", True, "default", models=(plain,))
    failure = {"at": "2026-12-01T10:03:24+00:00", "step": "poll", "outcome": "cloud_status", "message": "why"}
    page = render_page(status, {}, [failure])
    assert "retained delta" not in page
    assert "agreement" not in page
    assert "<td>why</td>" in page
    assert '<th scope="row">2026-12-01 10:03:24</th>' in page
    page = render_page(replace(status, models=(plain, merged)), {}, [])
    assert "retained delta" in page
    assert "agreement" in page
