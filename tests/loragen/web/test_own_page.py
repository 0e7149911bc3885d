"""Whose page sends a form."""

import pytest
from fastapi import Request

from loragen.web.errors import OriginError
from loragen.web.own_page import verify_own_page


def _request(**headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": pairs})


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "dev:8080"},
        {"host": "dev:8080", "origin": "http://dev:8080"},
        {"host": "dev", "origin": "https://dev", "sec_fetch_site": "same-origin"},
        {"host": "dev", "sec_fetch_site": "none"},
        {"host": "inner:8080", "origin": "https://dev", "sec_fetch_site": "same-origin"},
    ],
)
def test_form_of_the_own_page_passes(headers: dict[str, str]) -> None:
    verify_own_page(_request(**headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "dev:8080", "origin": "http://dev:3000"},
        {"host": "dev", "origin": "http://dev.evil.example"},
        {"host": "dev", "origin": "null"},
        {"host": "dev", "origin": ""},
        {"origin": "http://dev"},
        {"host": "dev", "origin": "http://dev", "sec_fetch_site": "cross-site"},
        {"host": "dev", "sec_fetch_site": "same-site"},
        {"host": "dev", "sec_fetch_site": ""},
    ],
)
def test_form_of_another_page_does_not(headers: dict[str, str]) -> None:
    with pytest.raises(OriginError):
        verify_own_page(_request(**headers))
