"""Generating a LoRA, for people."""

import json

import httpx2

from cloud_service.access.scopes import Scope
from cloud_service.bootstrap import Cloud
from cloud_service.http.console.generation_pages import READ_PER_SECOND, show_answer
from loragen.cloud_answers import Generated
from tests.cloud_service.fake_generator import CHOOSE, FakeGenerator
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.http.console.page_reader import Page
from tests.cloud_service.http.console.people import signed_in

PATH = "/console/generate"
TOOL = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


async def test_result_shows_figures_evidence_and_gates(http: httpx2.AsyncClient) -> None:
    form = {"description": "Echo each word.\r\nNothing else.", "probe": "echo => echo\r\nping => pong"}
    page = await http.post(PATH, data=form)
    assert page.status_code == 200
    assert not Page(page.text).faults
    for shown in ("prompt tokens saved a call", "62 %", "to break even", "<td>with the LoRA</td><td>50 %</td>"):
        assert shown in page.text
    picture = page.text.partition('<img src="')[2].partition('"')[0]
    image = await http.get(picture)
    assert (image.headers["content-type"], image.content[:4]) == ("image/png", b"\x89PNG")
    assert image.headers["cache-control"].startswith("private")
    assert "Echo each word.\nNothing else.</textarea>" in page.text


async def test_examples_are_tried_where_the_box_is_ticked(http: httpx2.AsyncClient) -> None:
    form = {"description": "Echo.", "examples": "echo => echo\r\nping => pong", "probe_examples": "yes"}
    page = (await http.post(PATH, data=form)).text
    assert "<td>with the LoRA</td><td>50 %</td>" in page
    assert 'name="probe_examples" value="yes" checked>' in page


async def test_console_and_api_ask_for_the_same(http: httpx2.AsyncClient) -> None:
    """Lines that a browser sends end with two characters, which are no other task."""
    examples = [{"input": "a", "output": "b"}, {"input": "c\nd", "output": "e"}]
    body = {"description": "One.\nTwo.", "examples": examples, "tools": [TOOL]}
    made = Generated.model_validate((await http.post("/generate-lora", json=body)).json())
    form = {"description": "One.\r\nTwo.", "examples": json.dumps(examples), "tools": json.dumps([TOOL])}
    page = await http.post(PATH, data=form)
    assert made.id in page.text
    assert "known already" in page.text


async def test_closed_set_is_shown_without_a_picture(http: httpx2.AsyncClient) -> None:
    page = (await http.post(PATH, data={"description": CHOOSE})).text
    assert "the choice head answers, by a code for each of 2 choices" in page
    assert "<img" not in page
    stated = (await http.post(PATH, data={"description": "Sort.", "choices": "bills, spam ,"})).text
    assert "bills, spam" in stated


async def test_tools_come_in_the_shapes_that_people_have(http: httpx2.AsyncClient) -> None:
    for tools in ([TOOL], TOOL, {"tools": [TOOL], "model": "x"}):
        page = await http.post(PATH, data={"tools": json.dumps(tools)})
        assert page.status_code == 200
        assert "get_weather" in page.text


NO_FORMS: tuple[tuple[dict[str, str], str], ...] = (
    ({}, "expected"),
    ({"description": "x", "examples": "a => b\nno arrow"}, "examples: expected INPUT =&gt; OUTPUT in line 2"),
    ({"description": "x", "examples": "[not json"}, "in line 1"),
    ({"description": "x", "examples": '[{"input": "a"}]'}, "examples.0.output"),
    ({"description": "x", "probe": "ping"}, "probe: expected INPUT"),
    ({"tools": "{"}, "tools: expected JSON"),
    ({"tools": "3"}, "tools: expected a JSON array"),
    ({"tools": "[" * 100_000}, "tools: expected JSON of at most 100 levels"),
    ({"tools": '{"tools": 3}'}, "tools: expected a JSON array"),
    ({"tools": "[3]"}, "tools"),
    ({"description": "x", "choices": "alone"}, "at least 2 choices"),
    ({"description": "x", "refine": "yes"}, "budget_seconds: expected a number"),
    ({"description": "x", "generator": "other"}, "other"),
    ({"description": "x" * 16_001}, "description"),
)


async def test_form_that_is_none_keeps_what_was_entered(http: httpx2.AsyncClient) -> None:
    for form, reported in NO_FORMS:
        page = await http.post(PATH, data=form)
        assert page.status_code == 422, form
        assert reported in page.text, form
        assert form.get("description", "")[:1_000] in page.text
        assert not Page(page.text).faults


async def test_what_clients_wrote_is_shown_as_text(http: httpx2.AsyncClient, generator: FakeGenerator) -> None:
    generator.residual_prompt_words = 50
    for text in ("<script>alert(1)</script>", "</textarea><b>", "\u202eabc\u2066", "x" * 1_000):
        page = await http.post(PATH, data={"description": text, "examples": f"{text[:50]} => {text[:50]}"})
        assert page.status_code == 200
        found = Page(page.text)
        assert not found.faults
        assert "b" not in found.tags


async def test_bytes_that_are_no_form_are_no_crash(http: httpx2.AsyncClient) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    for content in (b"\xff\xfe=%ff", b"&".join([b"a=1"] * 50), b"description=%00%ff"):
        page = await http.post(PATH, content=content, headers=headers)
        assert page.status_code in (200, 400, 422), content
    page = await http.post(PATH, content=b"x", headers={"content-type": "multipart/form-data; boundary=x"})
    assert page.status_code in (400, 422)


async def test_key_that_only_generates_sees_its_job_and_cannot_publish(guarded: Guarded) -> None:
    examples = "\n".join(f"mail {number} => answer {number}" for number in range(6))
    form = {"description": "Sort.", "examples": examples}
    async with signed_in(guarded, Scope.GENERATE) as person:
        page = await person.post(PATH, data=form)
        assert page.status_code == 200
        assert '<form method="post" action="/console" ' not in page.text
        started = await person.post(PATH, data=form | {"refine": "yes", "budget_seconds": "90"})
        assert (await person.get(started.headers["location"])).status_code == 200


async def test_publisher_of_a_tenant_is_led_to_its_channels(guarded: Guarded) -> None:
    async with signed_in(guarded, Scope.GENERATE, Scope.PUBLISH, Scope.READ, tenant="acme") as person:
        page = await person.post(PATH, data={"description": "Sort."})
        assert 'name="channel" required value="acme."' in page.text
        bundle_id = page.text.partition('name="bundle_id" value="')[2][:64]
        form = {"name": "mail", "bundle_id": bundle_id}
        assert (await person.post("/console", data=form | {"channel": "other.kitchen"})).status_code == 404
        done = await person.post("/console", data=form | {"channel": "acme.kitchen"})
        assert "since version 1." in done.text


async def test_generation_pays_off_when_devices_have_saved_the_time_that_it_took(
    cloud: Cloud, http: httpx2.AsyncClient
) -> None:
    made = Generated.model_validate((await http.post("/generate-lora", json={"description": "One two."})).json())
    timings = made.timings.model_copy(update={"queue_ms": 500.0, "generate_ms": 1_000.0, "assemble_ms": 520.0})
    made = made.model_copy(update={"timings": timings, "tokens_saved_per_call": 10})
    shown = await show_answer(cloud.service, made)
    assert (shown.seconds, READ_PER_SECOND) == (2.02, 100)
    assert shown.pays_off_after == 21
    nothing = await show_answer(cloud.service, made.model_copy(update={"tokens_saved_per_call": 0}))
    assert nothing.pays_off_after is None
