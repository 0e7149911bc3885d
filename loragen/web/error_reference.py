"""What each code of a service's errors means: the page that error bodies link to, and the same for documents.

Most codes belong to a class of errors, whose docstring says what it means. Where one class has several codes, the
service has a table of the others (`error_codes` in its package).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from loragen.web.errors import FrontError, ServiceError

ERROR_PAGE = "/errors"

_HEADERS = {
    "cache-control": "public, max-age=3600",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}

_STYLE = """:root { color-scheme: light dark } body { font: 1rem/1.5 system-ui, sans-serif; max-width: 48rem;
margin: 2rem auto; padding: 0 1rem } dt { margin-top: 1rem; font-family: monospace } dd { margin-left: 0 }
:target { font-weight: bold; outline: 2px solid; outline-offset: 4px }"""


@dataclass(frozen=True, slots=True)
class ErrorEntry:
    """A code and what it means.

    Attributes:
        code: As error bodies have it.
        status: Over HTTP; for errors that are no answers, the one they would have.
        error: The class of the error.
        meaning: One sentence or two.
    """

    code: str
    status: int
    error: type[ServiceError]
    meaning: str


def documentation_url(code: str) -> str:
    """Where a service's own page says what a code means; relative to the service."""
    return f"{ERROR_PAGE}#{code}"


def entries_of(
    statuses: Mapping[type[Any], int], more: Mapping[str, tuple[type[ServiceError], str]]
) -> tuple[ErrorEntry, ...]:
    """All codes of a service by name, those of the front of every service among them.

    Args:
        statuses: The status of each class of errors.
        more: Codes that belong to no class alone: the class that has them, and what they mean.
    """
    found: dict[str, ErrorEntry] = {}
    for code, (error, meaning) in more.items():
        found[code] = ErrorEntry(code, int(statuses[error]), error, meaning)
    front = {error: error.status for error in _front_errors(FrontError)}
    for each, status in {**statuses, **front}.items():
        found.setdefault(each.code, ErrorEntry(each.code, int(status), each, _first_sentence(each)))
    return tuple(found[code] for code in sorted(found))


def error_routes(service: str, entries: tuple[ErrorEntry, ...]) -> APIRouter:
    """The page, which needs no key: what it says is public."""
    page = _render(service, entries)
    router = APIRouter()

    @router.get(ERROR_PAGE, response_class=HTMLResponse, include_in_schema=False)
    async def read_errors() -> HTMLResponse:
        """What each code of an error means, as a page; error bodies link to it."""
        return HTMLResponse(page, headers=_HEADERS)

    return router


def _render(service: str, entries: tuple[ErrorEntry, ...]) -> str:
    title = f"Errors of the {escape(service)}"
    items = "".join(
        f'<div id="{escape(each.code)}"><dt>{escape(each.code)}</dt><dd>HTTP {each.status}. {escape(each.meaning)}</dd>'
        "</div>"
        for each in entries
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f'<meta name="viewport" content="width=device-width"></head><body><main><h1>{title}</h1>'
        "<p>An error has a code for programs, a message that says what was expected and what was found, and a hint "
        "with the way out. Its request id finds it in the service's log.</p>"
        f"<dl>{items}</dl></main></body></html>"
    )


def _front_errors(error: type[FrontError]) -> Iterator[type[FrontError]]:
    for each in error.__subclasses__():
        if hasattr(each, "status"):
            yield each
        yield from _front_errors(each)


def _first_sentence(error: type[ServiceError]) -> str:
    paragraph = (error.__doc__ or "").strip().partition("\n\n")[0]
    return " ".join(paragraph.split())
