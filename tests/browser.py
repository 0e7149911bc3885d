"""Helper: a real Chromium that is driven by Playwright, and what a page must be for everybody who looks at it.

Neither is installed by the set-up. Modules that import this one are skipped where one of the two is missing.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("needs a chromium on the path", allow_module_level=True)

Browser = sync_api.Browser
Locator = sync_api.Locator
Page = sync_api.Page
expect = sync_api.expect
expect.set_options(timeout=20_000)  # a page that shows progress asks again every five seconds

READABLE = 4.5
"""Least contrast of text, WCAG 2.2 level AA, 1.4.3."""
NARROW = {"width": 320, "height": 640}
"""The width at which nothing may be cut off, WCAG 2.2 level AA, 1.4.10."""
_MOST_TABS = 80

_TEXTS = """() => {
  const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const over = (top, under) => under.map((value, i) => i > 2 ? 1 : top[i] * top[3] + value * (1 - top[3]));
  const light = color => color.slice(0, 3).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = element => element === null ? [255, 255, 255, 1]
    : over(rgba(getComputedStyle(element).backgroundColor), behind(element.parentElement));
  const found = [];
  const look = (element, style, text) => {
    const under = behind(element), [one, other] = [light(over(rgba(style.color), under)), light(under)];
    found.push([(Math.max(one, other) + .05) / (Math.min(one, other) + .05), text]);
  };
  for (const element of document.body.querySelectorAll("*")) {
    if (!element.checkVisibility() || element.matches("option, :disabled")) continue;
    const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join(" ").trim();
    if (text || element.value) look(element, getComputedStyle(element), text || element.value);
    if (element.placeholder) look(element, getComputedStyle(element, "::placeholder"), element.placeholder);
  }
  return found;
}"""
"""Contrast and text of everything that is visible."""

_UNNAMED = """() => [...document.querySelectorAll(
  "a, button, input:not([type=hidden]), select, textarea, summary, progress, meter, table, [role=region], img"
)].filter(e => e.checkVisibility() && !e.computedName).map(e => e.outerHTML)"""

_FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
  const isMarked = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 || e.type === "datetime-local";
  const isInView = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
  return e === document.body || isMarked && isInView;
}"""
"""Whether one sees where the keyboard is. Of a date, Chromium marks the part itself."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--enable-blink-features=ComputedAccessibilityInfo"],
        )
        yield browser
        browser.close()


@contextmanager
def tab(browser: Browser, url: str, *, statuses: tuple[int, ...] = (), **settings: object) -> Iterator[Page]:
    """A tab of somebody who knows nothing of other tabs; at its end nothing may have gone wrong in it.

    Args:
        browser: The browser.
        url: The origin that all requests stay at.
        statuses: Those above 399 that the test asks for; the browser reports them as errors.
        settings: Further ones of the browser's context.
    """
    context = browser.new_context(base_url=url, **settings)
    context.set_default_timeout(20_000)
    page = context.new_page()
    faults: list[str] = []
    expected = tuple(f"Failed to load resource: the server responded with a status of {each} " for each in statuses)
    page.on(
        "console",
        lambda said: (
            None
            if said.type not in ("error", "warning") or said.text.startswith(expected or "\0")
            else faults.append(f"{said.type}: {said.text}")
        ),
    )
    page.on("pageerror", lambda error: faults.append(f"exception: {error}"))
    page.on("request", lambda request: None if is_at(request.url, url) else faults.append(f"asks for {request.url}"))
    page.on("dialog", lambda dialog: (faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    yield page
    context.close()
    assert not faults, faults


def is_at(address: str, origin: str) -> bool:
    """Whether an address is of this origin, or asks nobody."""
    return address.startswith("data:") or urlsplit(address)[:2] == urlsplit(origin)[:2]


def go_to(page: Page, wanted: Locator) -> None:
    """Press Tab until the keyboard is there; one sees all the way where it is."""
    expect(wanted).to_be_visible()
    for _ in range(_MOST_TABS):
        page.keyboard.press("Tab")
        assert page.evaluate(_FOCUSED), page.evaluate("document.activeElement.outerHTML")
        if wanted.evaluate("e => e === document.activeElement"):
            return
    raise AssertionError(f"the keyboard does not reach {wanted}")


def type_into(page: Page, label: str, text: str) -> None:
    """Go to a field and write; what stood there is replaced."""
    go_to(page, page.get_by_label(label, exact=True))
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def press(page: Page, name: str, role: str = "button") -> None:
    """Go to a button, a link or a `summary`, and press Enter."""
    named = page.locator(role, has_text=name) if role == "summary" else page.get_by_role(role, name=name)
    go_to(page, named.first)
    page.keyboard.press("Enter")


def verify_for_all(page: Page) -> None:
    """Everything has a name, every text can be read in light and in dark, and nothing is cut off on a small screen."""
    unnamed = page.evaluate(_UNNAMED)
    assert not unnamed, unnamed
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        texts = page.evaluate(_TEXTS)
        assert len(texts) > 5
        pale = [each for each in texts if each[0] < READABLE]
        assert not pale, (scheme, pale)
        is_dark = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every(v => v < 64)")
        assert is_dark == (scheme == "dark")
    wide = page.viewport_size
    page.set_viewport_size(NARROW)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= NARROW["width"]
    page.set_viewport_size(wide)
