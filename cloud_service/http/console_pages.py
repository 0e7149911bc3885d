"""Pages of the console: templates, and the headers that keep other sites out of them.

Nothing comes from elsewhere: one style sheet, no script. Templates escape everything that is shown.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse

from cloud_service.errors import CloudError
from loragen.contract.polling import format_labels
from loragen.fleet_answers import time_text
from loragen.web.errors import OriginError

_FOLDER = Path(__file__).with_name("console")

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

_FROM_HERE = ("same-origin", "none")


class Pages:
    """Renders templates."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["time"] = lambda microseconds: time_text(microseconds)[:19].replace("T", " ")
        self._templates.filters["labels"] = lambda labels: format_labels(labels)

    def page(
        self,
        template: str,
        values: Mapping[str, Any],
        *,
        notice: str = "",
        error: CloudError | None = None,
        status: int = 200,
    ) -> Response:
        """A page.

        Args:
            template: Its file.
            values: What the template shows.
            notice: What was done.
            error: Why something was not done.
            status: HTTP's.
        """
        text = self._templates.get_template(template).render(values, notice=notice, error=error)
        return HTMLResponse(text, status, _HEADERS)

    def style(self) -> Response:
        """The style sheet."""
        headers = {"cache-control": "no-cache", "x-content-type-options": "nosniff"}
        return Response((_FOLDER / "style.css").read_bytes(), headers=headers, media_type="text/css")


def verify_own_page(request: Request) -> None:
    """Check that a form was sent by a page of the console.

    `hosts` is not enough: it also allows pages of another service on this machine, at another port.

    Raises:
        OriginError: Another page sent it.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site not in (None, *_FROM_HERE) or (
        origin is not None and origin.partition("://")[2] != request.headers.get("host")
    ):
        raise OriginError("expected a form of this console, found one of another page", "open the console itself")
