"""What codes mean: all of them are told, on a page that error bodies link to."""

import re
from html import unescape

import httpx2
from fastapi import FastAPI

from loragen.web.error_reference import documentation_url, entries_of, error_routes
from loragen.web.errors import BodyTooLargeError, ServiceError


class FullError(ServiceError):
    """There is no room <here>.

    More of it.
    """

    code = "full"


ENTRIES = entries_of({FullError: 503}, {"half_full": (FullError, "There is some room.")})


def test_entries_are_those_of_classes_of_the_table_and_of_the_front() -> None:
    by_code = {each.code: each for each in ENTRIES}
    assert list(by_code) == sorted(by_code)
    assert (by_code["full"].status, by_code["full"].meaning) == (503, "There is no room <here>.")
    assert (by_code["half_full"].status, by_code["half_full"].error) == (503, FullError)
    assert by_code["body_too_large"].status == BodyTooLargeError.status == 413


async def test_page_has_a_place_for_each_code_and_nothing_active() -> None:
    app = FastAPI()
    app.include_router(error_routes("<service>", ENTRIES))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://a") as http:
        answer = await http.get(documentation_url("full"))
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert re.findall(r'<div id="([^"]+)">', answer.text) == [each.code for each in ENTRIES]
    assert all(each.meaning in unescape(answer.text) for each in ENTRIES)
    assert "<here>" not in answer.text
    assert "<service>" not in answer.text
    assert "<script" not in answer.text
