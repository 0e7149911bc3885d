"""The console in a real browser: by keyboard alone, from a description to a fleet that has it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
import pytest

from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from tests.browser import Browser, Page, chromium, expect, go_to, press, tab, type_into, verify_for_all

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "serve_fake.py"
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"

_REMEMBER_STATUS = """() => {
  const status = document.querySelector(".busy");
  new MutationObserver(() => sessionStorage.said = status.textContent).observe(status, {childList: true});
}"""
"""Keeps for the next page what this one said while the next one was awaited."""


class Service:
    """A process of the cloud service over a generator that takes half a second."""

    def __init__(self, port: int, grpc_port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._grpc_address = f"127.0.0.1:{grpc_port}"

    def report(self, *devices: str, version: int) -> None:
        """Devices say that they are at this version of the channel `kitchen`."""
        with grpc.insecure_channel(self._grpc_address) as channel:
            for device in devices:
                report = pb.DeviceReport(device_id=device, channel="kitchen", channel_version=version)
                stubs.ChannelsStub(channel).ReportStatus(report)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    log = tmp_path / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LORAGEN_")}
    with (
        log.open("w") as errors,
        subprocess.Popen([sys.executable, SCRIPT, tmp_path], stdout=subprocess.PIPE, stderr=errors, env=environment)
        as process,
    ):  # fmt: skip
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            records = [json.loads(line) for line in log.read_text().splitlines()]
            yield Service(port, next(each["grpc_port"] for each in records if each["event"] == "serving"))
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def generate(page: Page, text: str) -> None:
    page.goto("/console/generate")
    type_into(page, "What the model is to do", text)
    press(page, "Generate")
    expect(page.get_by_role("heading", name="Result")).to_be_in_viewport()


def publish(page: Page, name: str) -> None:
    type_into(page, "Channel", "kitchen")
    type_into(page, "Name", name)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Channel kitchen")).to_be_visible()


def rows(page: Page, table: str) -> Sequence[str]:
    return page.get_by_role("table", name=table).locator("tbody tr").all_inner_texts()


def test_lora_is_generated_published_and_compared_by_keyboard(service: Service, browser: Browser) -> None:
    with tab(browser, service.url) as page:
        page.goto("/console")
        expect(page.get_by_text("There is no channel yet.")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
        page.keyboard.press("Enter")
        press(page, "generate a LoRA", "link")
        expect(page.get_by_role("heading", name="Generate a LoRA")).to_be_visible()
        verify_for_all(page)
        type_into(page, "What the model is to do", "Summarize each mail.")
        page.evaluate(_REMEMBER_STATUS)
        press(page, "Generate")
        expect(page.get_by_role("heading", name="Result")).to_be_in_viewport()
        assert page.evaluate("sessionStorage.said") == "Generating…"
        expect(page.get_by_role("status").filter(has_text="The LoRA is ready.")).to_have_count(1)
        picture = page.get_by_role("img", name="Gates of 2 layers")
        assert picture.evaluate("e => e.complete && e.naturalWidth > 0")
        verify_for_all(page)
        publish(page, "mail")
        expect(page.get_by_role("status")).to_contain_text("since version 1.")
        generate(page, "Answer each mail.")
        publish(page, "mail")
        assert [row.split()[0] for row in rows(page, "History")] == ["2", "1"]
        verify_for_all(page)
        press(page, "version 1", "link")
        expect(page.get_by_role("heading", name="0 added, 0 removed, 1 changed")).to_be_visible()
        assert "~ changed" in rows(page, "0 added, 0 removed, 1 changed")[0]
        verify_for_all(page)


def test_rollout_goes_on_under_the_eyes_of_whoever_looks(service: Service, browser: Browser) -> None:
    with tab(browser, service.url) as page:
        generate(page, "Sort.")
        publish(page, "mail")
        service.report("toaster", "kettle", version=1)
        generate(page, "Sort better.")
        type_into(page, "Channel", "kitchen")
        type_into(page, "Name", "mail")
        press(page, "To some devices first")
        expect(page.get_by_role("heading", name="Channel kitchen")).to_be_visible()
        verify_for_all(page)
        type_into(page, "Percent", "100")
        press(page, "Start a rollout")
        expect(page.get_by_role("status")).to_contain_text("The rollout of version 2 has begun.")
        all_devices = page.get_by_role("progressbar", name="All devices of the channel")
        expect(all_devices).to_have_attribute("value", "0")
        page.evaluate("document.body.dataset.seen = 'this page'")
        service.report("toaster", version=2)
        expect(all_devices).to_have_attribute("value", "1")
        assert page.evaluate("document.body.dataset.seen") == "this page"
        verify_for_all(page)
        press(page, "Promote…", "summary")
        press(page, "Promote to all")
        expect(page.get_by_role("status")).to_contain_text("is promoted")


def test_lora_and_channel_are_deleted_by_keyboard(service: Service, browser: Browser) -> None:
    with tab(browser, service.url, statuses=(409,)) as page:
        generate(page, "Sort.")
        press(page, "Delete it…", "summary")
        verify_for_all(page)
        press(page, "Delete this LoRA")
        expect(page.get_by_role("status")).to_contain_text("is deleted.")
        generate(page, "Sort.")
        bundle_id = page.locator("input[name=bundle_id]").first.input_value()
        publish(page, "mail")
        page.goto("/console")
        press(page, "Delete a bundle or a recipe", "summary")
        type_into(page, "Id of the bundle, or of the recipe that makes it; both go", bundle_id)
        press(page, "Delete…", "summary")
        press(page, "Delete both")
        expect(page.get_by_role("alert")).to_contain_text("'kitchen'")
        page.goto("/console/channels/kitchen")
        press(page, "Delete the channel…", "summary")
        verify_for_all(page)
        press(page, "Delete channel kitchen")
        expect(page.get_by_role("status")).to_contain_text("Channel kitchen is deleted.")
        verify_for_all(page)


def test_mistakes_are_said_as_text_and_keep_what_was_typed(service: Service, browser: Browser) -> None:
    with tab(browser, service.url, statuses=(422,)) as page:
        page.goto("/console/generate")
        press(page, "Examples", "summary")
        type_into(page, "One a line, INPUT => OUTPUT; or a JSON array, where they have several lines", HOSTILE)
        press(page, "Generate")
        expect(page.get_by_role("alert")).to_contain_text("examples: expected INPUT => OUTPUT in line 1")
        expect(page.get_by_role("textbox", name="One a line")).to_have_value(HOSTILE)
        verify_for_all(page)


def test_console_works_without_scripts(service: Service, browser: Browser) -> None:
    with tab(browser, service.url, java_script_enabled=False) as page:
        page.goto("/console/generate")
        page.get_by_label("What the model is to do").fill("Sort.")
        page.get_by_role("button", name="Generate").click()
        page.get_by_label("Channel").fill("kitchen")
        page.get_by_label("Name", exact=True).fill("mail")
        page.get_by_role("button", name="Publish").click()
        expect(page.get_by_role("status")).to_contain_text("since version 1.")
        page.get_by_text("Withdraw…").click()
        page.get_by_role("button", name="Withdraw mail").click()
        expect(page.get_by_text("It lists nothing.")).to_be_visible()


def test_first_key_is_made_and_used_by_keyboard(service: Service, browser: Browser) -> None:
    with tab(browser, service.url, statuses=(401,)) as page:
        page.goto("/console/keys")
        press(page, "Make a key", "summary")
        verify_for_all(page)
        type_into(page, "Name, for people", "mine")
        go_to(page, page.get_by_role("checkbox", name="admin"))
        page.keyboard.press("Space")
        press(page, "Make the key")
        key = page.locator("#new-key").inner_text()
        verify_for_all(page)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and "/sign-in" not in page.url:
            page.goto("/console/generate")  # the service begins to ask within seconds
        verify_for_all(page)
        type_into(page, "API key", "wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_be_visible()
        type_into(page, "API key", key)
        page.keyboard.press("Enter")
        expect(page.get_by_text("Key mine")).to_be_visible()
        expect(page.get_by_role("heading", name="Generate a LoRA")).to_be_visible()
        for section in page.get_by_role("navigation").get_by_role("link").all_inner_texts():
            press(page, section, "link")
            expect(page.locator("nav [aria-current=page]")).to_have_text(section)
            verify_for_all(page)
        press(page, "Sign out")
        expect(page.get_by_role("status")).to_contain_text("You are signed out.")


def test_policy_of_the_pages_stops_what_is_not_theirs_and_this_test_would_see_it(
    service: Service, browser: Browser
) -> None:
    with pytest.raises(AssertionError) as caught, tab(browser, service.url) as page:  # noqa: PT012
        page.goto("/console")
        page.evaluate(
            "for (const [tag, fields] of [['script', {text: 'document.title = 1'}], ['img', {src: '//evil.example'}]])"
            " document.body.append(Object.assign(document.createElement(tag), fields))"
        )
        page.wait_for_timeout(200)
        assert page.title() == "Channels · LoRA-Gen"
    assert str(caught.value).count("Content Security Policy") == 2
