"""What an answer means: bodies within their limits, files, events, refusals."""

from email.utils import formatdate
from pathlib import Path

import httpx2
import pytest

from loragen.answer_model import AnswerModel
from loragen.client.call import Answer, ApiCall, EventReader, Receiver, as_model, path_of, refusal
from loragen.client.errors import RemoteError
from loragen.client.retries import Deadline
from loragen.contract.digest import sha256_hex
from tests.loragen.client.scripted import refused


class Number(AnswerModel):
    value: int


NUMBER = ApiCall("GET", "/number", as_model(Number), max_bytes=20)


def receive(call: ApiCall[Number] | ApiCall[int], response: httpx2.Response, seconds: float = 9) -> Number | int:
    with Receiver(call, response, Deadline(seconds)) as receiver:
        for piece in response.iter_bytes(chunk_size=8):
            receiver.write(piece)
        return receiver.finish()


def to_file(path: Path) -> ApiCall[int]:
    return ApiCall("GET", "/file", lambda answer: answer.status, max_bytes=100, file=path)


def artifact(data: bytes, named: bytes) -> httpx2.Response:
    return httpx2.Response(200, content=data, headers={"etag": f'"{sha256_hex(named)}"'})


def test_unknown_fields_are_ignored() -> None:
    assert receive(NUMBER, httpx2.Response(200, content=b'{"value":1,"new":2}')) == Number(value=1)


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'{"value":"x"}', b'{"value":1,"long":"123"}'])
def test_answer_that_is_not_as_documented_is_an_error(body: bytes) -> None:
    with pytest.raises(RemoteError, match="GET /number") as caught:
        receive(NUMBER, httpx2.Response(200, content=body))
    assert (caught.value.code, caught.value.status) == ("unexpected_answer", 200)


def test_answer_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(RemoteError) as caught:
        receive(NUMBER, httpx2.Response(200, content=b"{}"), seconds=0)
    assert caught.value.code == "timeout"


def test_refusal_has_all_that_the_service_said() -> None:
    with pytest.raises(RemoteError) as caught:
        receive(NUMBER, refused(503, "draining", {"retry-after": "7"}), 9)
    error = caught.value
    assert (error.code, error.message, error.hint) == ("draining", "it is draining", "do otherwise")
    assert (error.status, error.request_id, error.retry_after_seconds) == (503, "r1", 7)
    assert error.documentation_url == "http://cloud/errors#draining"


def test_link_of_a_refusal_is_made_whole() -> None:
    body = b'{"error": {"code": "full", "message": "no", "documentation_url": "/errors#full"}}'
    error = refusal(Answer(409, {}, body, "https://a.example:8443/channels/x?y=1"))
    assert error.documentation_url == "https://a.example:8443/errors#full"
    assert (
        refusal(Answer(409, {}, b'{"error": {"code": "full", "message": "no"}}', "https://a")).documentation_url == ""
    )


def test_retry_after_may_be_a_date() -> None:
    error = refusal(Answer(503, {"retry-after": formatdate(4_000_000_000, usegmt=True)}, b""))
    assert error.retry_after_seconds is not None
    assert error.retry_after_seconds > 1e9


@pytest.mark.parametrize("body", [b"<html>a proxy</html>", b'{"error": "text"}', b"\xff"])
def test_refusal_without_an_error_body_is_one_too(body: bytes) -> None:
    error = refusal(Answer(502, {}, body))
    assert (error.code, error.status, error.request_id) == ("unexpected_answer", 502, "")


def test_file_appears_when_its_digest_is_right(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    assert receive(to_file(path), artifact(b"whole and right", b"whole and right")) == 200
    assert path.read_bytes() == b"whole and right"


@pytest.mark.parametrize(
    ("response", "code"),
    [(artifact(b"damaged", b"right"), "integrity"), (artifact(bytes(101), bytes(101)), "unexpected_answer")],
)
def test_file_stays_what_it_was_after_a_bad_download(tmp_path: Path, response: httpx2.Response, code: str) -> None:
    path = tmp_path / "bank"
    path.write_bytes(b"old")
    with pytest.raises(RemoteError) as caught:
        receive(to_file(path), response)
    assert caught.value.code == code
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def read_all(*lines: str) -> list[Number]:
    reader = EventReader(NUMBER, Deadline(9))
    events = [event for line in lines for event in reader.read(line)]
    reader.finish()
    return events


def test_events_are_read_until_the_last() -> None:
    events = read_all('data: {"value":1}', "", ": a comment", "event: other", 'data:{"value":2}', "data: [DONE]", "")
    assert [event.value for event in events] == [1, 2]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (['data: {"value":1}'], "disconnected"),
        (['data: {"error":{"code":"failed","message":"m","hint":"","request_id":"r"}}'], "failed"),
        (["data: {"], "unexpected_answer"),
    ],
)
def test_stream_that_fails_is_an_error(lines: list[str], code: str) -> None:
    with pytest.raises(RemoteError) as caught:
        read_all(*lines)
    assert caught.value.code == code


def test_path_parts_cannot_leave_their_place() -> None:
    assert path_of("channels", "../a b?c") == "/channels/..%2Fa%20b%3Fc"
