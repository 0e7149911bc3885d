"""The device's page in a real browser: what serves, and a prompt that is tried by keyboard alone."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.browser import Browser, Page, chromium, expect, go_to, press, tab, type_into, verify_for_all
from tests.edge_runtime.contracts import DESKS
from tests.edge_runtime.fake_cloud import FakeCloud

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script></textarea><b>bold</b>"
SECONDS = 30.0


@pytest.fixture
def device(tiny_base: Path, cloud: FakeCloud, tmp_path: Path) -> Iterator[str]:
    """The address of a process that serves a tiny model and a specialization of it; another one it cannot fetch."""
    desk = cloud.make("desk", answer=DESKS)
    cloud.publish(desk, replace(cloud.make("broken", seed=1), bundle_id="f" * 64, recipe=None))
    settings = {
        "BASE_MODEL": str(tiny_base),
        "DATA_DIR": str(tmp_path / "device"),
        "CLOUD_URL": cloud.url,
        "ALLOW_UNSIGNED": "true",
        "QUANTIZATION": "Q8_0",
        "CONTEXT_TOKENS": "256",
        "THREADS": "1",
        "PORT": "0",
        "LOG_FORMAT": "json",
        "DEVICE_ID": "kitchen-1",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LORAGEN_")}
    environment |= {f"LORAGEN_EDGE_{name}": value for name, value in settings.items()}
    log = tmp_path / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen([sys.executable, "-m", "edge_runtime"], stdout=errors, stderr=errors, env=environment)
        as process,
    ):  # fmt: skip
        try:
            yield f"http://127.0.0.1:{_port(log)}"
        finally:
            process.terminate()


def _port(log: Path) -> int:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines(keepends=True):
            if line.endswith("\n") and '"event":"serving"' in line:
                return int(json.loads(line)["http_port"])
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def open_page(page: Page) -> None:
    """Load the page again until both specializations have come to an end."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        page.goto("/")
        states = page.get_by_role("table", name="Models").locator("tbody tr").all_inner_texts()
        if any("merged" in each for each in states) and any("failed" in each for each in states):
            return
        time.sleep(0.2)
    raise AssertionError(states)


def choose(page: Page, model: str) -> None:
    go_to(page, page.get_by_label("Model", exact=True))
    page.keyboard.type(model)
    expect(page.get_by_role("combobox")).to_have_value(model)


def test_page_shows_what_serves_and_answers_by_keyboard(device: str, browser: Browser) -> None:
    with tab(browser, device) as page:
        open_page(page)
        expect(page).to_have_title("kitchen-1: LoRA-Gen device")
        expect(page.get_by_role("table", name="kitchen-1: LoRA-Gen device")).to_contain_text("ready")
        verify_for_all(page)
        assert page.locator("script").count() == 0
        choose(page, "desk")
        type_into(page, "Prompt", "Where is my parcel?")
        press(page, "Answer")
        answer = page.get_by_role("status")
        expect(answer).to_be_in_viewport()
        assert answer.inner_text() in DESKS.choices
        expect(page.get_by_role("combobox")).to_have_value("desk")
        verify_for_all(page)


def test_markup_is_text_whatever_comes_of_it(device: str, browser: Browser) -> None:
    with tab(browser, device, statuses=(400,)) as page:
        open_page(page)
        for prompt, role in ((HOSTILE, "status"), (HOSTILE * 40, "alert")):
            type_into(page, "Prompt", prompt)
            press(page, "Answer")
            expect(page.get_by_role(role)).to_be_in_viewport()
            expect(page.get_by_role("textbox")).to_have_value(prompt)
            assert page.locator("img, script, b").count() == 0
            verify_for_all(page)
