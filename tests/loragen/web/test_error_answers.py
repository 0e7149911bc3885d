"""The one form of an error over HTTP."""

import json
from dataclasses import replace

from structlog.testing import capture_logs

from loragen.web.error_answers import ErrorAnswers, ErrorBody
from loragen.web.errors import MediaTypeError, ServiceError


class FullError(ServiceError):
    code = "full"
    retry_after_seconds = 3.0


ANSWERS = ErrorAnswers({FullError: 503}, ServiceError("internal error", "ask the operator"))


def test_answer_has_the_status_of_the_table_the_body_and_the_headers_of_the_error() -> None:
    response = ANSWERS.response(FullError("no room", "wait"), "abc")
    assert response.status_code == 503
    assert response.headers["retry-after"] == "3"
    assert response.headers["cache-control"] == "no-store"
    body = json.loads(bytes(response.body))
    fields = {"code": "full", "message": "no room", "hint": "wait", "request_id": "abc"}
    assert body == {"error": {**fields, "documentation_url": "/errors#full"}}
    assert ErrorBody.model_validate(body).error.code == "full"


def test_front_error_brings_its_own_status() -> None:
    assert ANSWERS.response(MediaTypeError("text"), "abc").status_code == 415


def test_error_is_a_text_for_clients_that_expect_one() -> None:
    answers = replace(ANSWERS, text_under=("/api/",))
    assert (
        answers.response(FullError("no room", "wait"), "abc", "/v1/x").body
        == ANSWERS.response(FullError("no room", "wait"), "abc").body
    )
    response = answers.response(FullError("no room", "wait"), "abc", "/api/chat")
    body = json.loads(bytes(response.body))
    assert (response.status_code, body.pop("error"), body.pop("hint")) == (503, "no room", "wait")
    assert set(body) == {"code", "request_id", "documentation_url"}


def test_body_may_say_more_by_the_error_and_its_status() -> None:
    answers = ErrorAnswers(
        {FullError: 503},
        ServiceError("x"),
        more_fields=lambda error, status: {"type": f"of_{status}", "param": error.field},
    )
    body = answers.body(FullError("no room", field="rooms"), "abc")["error"]
    assert (body["type"], body["param"]) == ("of_503", "rooms")


def test_exception_that_is_in_no_table_is_logged_and_tells_the_client_nothing() -> None:
    class AnotherError(ServiceError):
        code = "another"

    for error in (RuntimeError("password=hunter2"), AnotherError("password=hunter2")):
        with capture_logs() as records:
            known = ANSWERS.known(error)
        assert (known.code, str(known), known.hint) == ("internal", "internal error", "ask the operator")
        (record,) = records
        assert record["event"] == "unexpected_error"
        assert type(error).__name__ in record["crash"]
        assert "hunter2" not in repr(record)
    full = FullError("no room")
    assert ANSWERS.known(full) is full
