"""Pages of the console: templates, and the headers that keep other sites out of them.

Nothing comes from elsewhere. Templates escape everything that is shown, and a page offers only what the key of whoever
looks at it is good for.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse
from starlette.types import Scope

from cloud_service.access.caller import Caller
from cloud_service.access.scopes import rule_of
from cloud_service.http.console.browser import CONSOLE
from cloud_service.http.status import ERROR_ANSWERS
from loragen.contract.polling import format_labels
from loragen.fleet_answers import time_text
from loragen.web.error_reference import documentation_url
from loragen.web.errors import PathError, ServiceError

_FOLDER = Path(__file__).parent

_ID = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
"""A bundle's id, within a text."""

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

_SECTIONS = (
    (CONSOLE, "Channels"),
    (f"{CONSOLE}/devices", "Devices"),
    (f"{CONSOLE}/generate", "Generate"),
    (f"{CONSOLE}/jobs", "Jobs"),
    (f"{CONSOLE}/keys", "Keys"),
    (f"{CONSOLE}/audit", "Audit"),
)

_FILES = {"style.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}


class Pages:
    """Renders templates."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._files = {name: (_FOLDER / "static" / name).read_bytes() for name in _FILES}
        self._templates.filters["time"] = lambda microseconds: time_text(microseconds)[:19].replace("T", " ")
        self._templates.filters["short_time"] = lambda text: text[:19].replace("T", " ")
        self._templates.filters["labels"] = lambda labels: format_labels(labels)
        self._templates.filters["short_ids"] = lambda text: _ID.sub(r"\1…", text)
        self._templates.globals["file"] = self._address
        self._templates.globals["documentation_url"] = documentation_url

    def page(
        self,
        request: Request,
        template: str,
        values: Mapping[str, Any],
        *,
        notice: str = "",
        error: ServiceError | None = None,
    ) -> Response:
        """A page.

        Args:
            request: Who asks for it.
            template: Its file.
            values: What the template shows.
            notice: What was done.
            error: Why something was not done; decides the status.
        """
        return self.page_of(request.scope, template, values, notice=notice, error=error)

    def page_of(
        self,
        scope: Scope,
        template: str,
        values: Mapping[str, Any],
        *,
        notice: str = "",
        error: ServiceError | None = None,
    ) -> Response:
        """The same where there is only the scope of a request."""
        caller: Caller | None = scope.get("state", {}).get("caller")
        path = scope["path"]
        shown = {
            "who": caller,
            "may": lambda call: caller is not None and _may(caller, call),
            "sections": () if caller is None else _sections(caller, path),
            "notice": notice,
            "error": error,
        }
        text = self._templates.get_template(template).render(values, **shown)
        status = 200 if error is None else ERROR_ANSWERS.status(error)
        wait = error.headers.get("retry-after") if error is not None else None  # a page asks for no bearer token
        return HTMLResponse(text, status, _HEADERS if wait is None else {**_HEADERS, "retry-after": wait})

    def file(self, name: str) -> Response:
        """The style sheet, the script or the icon.

        Raises:
            PathError: There is no such file.
        """
        if name not in _FILES:
            raise PathError("no such resource", "open the console itself")
        # The address has a digest of the content, so it never has another one.
        headers = {"cache-control": "public, max-age=31536000, immutable", "x-content-type-options": "nosniff"}
        return Response(self._files[name], headers=headers, media_type=_FILES[name])

    def _address(self, name: str) -> str:
        return f"{CONSOLE}/files/{name}?{hashlib.sha256(self._files[name]).hexdigest()[:16]}"


def first_page(caller: Caller) -> str | None:
    """The page to begin with; None when the caller's key is good for none."""
    return next((path for path, _ in _SECTIONS if _may(caller, f"GET {path}")), None)


def _may(caller: Caller, call: str) -> bool:
    rule = rule_of(call)
    return caller.has(*rule.scopes) and not (rule.operator_only and caller.tenant)


def _sections(caller: Caller, path: str) -> tuple[tuple[str, str, bool], ...]:
    """Path and text of each section that the caller may open, and whether it is open."""
    is_elsewhere = any(path.startswith(section) for section, _ in _SECTIONS[1:])
    return tuple(
        (section, text, path.startswith(section) if section != CONSOLE else not is_elsewhere)
        for section, text in _SECTIONS
        if _may(caller, f"GET {section}")
    )
