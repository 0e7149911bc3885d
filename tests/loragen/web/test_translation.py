"""What frameworks raise becomes errors that name the field, what was expected and what was found."""

from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from loragen.web.body_fields import Text
from loragen.web.error_answers import ErrorAnswers
from loragen.web.errors import ServiceError
from loragen.web.scope import RequestRecord, RequestScope
from loragen.web.translation import describe_faults, install_translation, verify_json


def _verify_even(number: int) -> int:
    if number % 2:
        raise ValueError("expected an even number")
    return number


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Text = Field(max_length=5)
    prompt: Text | Annotated[list[Text], Field(max_length=1)] = ""
    even: Annotated[int, AfterValidator(_verify_even)] | Annotated[str, AfterValidator(str)] = 0


class InvalidError(ServiceError):
    code = "invalid"


class MalformedError(ServiceError):
    code = "malformed"


@pytest.fixture
async def client() -> Any:
    app = FastAPI()
    answers = ErrorAnswers({InvalidError: 422, MalformedError: 400}, ServiceError("internal error"))
    app.add_middleware(RequestScope, answers=answers, finished=lambda record: None, make_record=RequestRecord)
    install_translation(app, invalid=InvalidError, malformed=MalformedError)

    @app.post("/things", dependencies=[Depends(verify_json)])
    async def make(body: Body) -> None: ...

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://here") as made:
        yield made


def faults_of(body: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate(body)
    return describe_faults([{**fault, "loc": ("body", *fault["loc"])} for fault in caught.value.errors()])


@pytest.mark.parametrize(
    ("content", "code", "expected"),
    [
        (b'{"name": "a", "prompt": "\xff"}', "malformed", "expected UTF-8, found invalid start byte at byte 25"),
        (b'{"name": "a"', "malformed", "expected JSON, found a fault at character"),
        (b"name=a", "malformed", "expected JSON, found a fault at character 0"),
        (b"[" * 100_000, "malformed", "deeper nesting"),
        (b'{"name": ' + b"9" * 9_000 + b"}", "malformed", "numbers of reasonable length"),
        ('{"name": "a"}'.encode("utf-16-le"), "malformed_body", "expected UTF-8, found utf-16-le"),
        ('{"name": "a"}'.encode("utf-32"), "malformed_body", "expected UTF-8, found utf-32"),
        (b'{"name": "a", "name": "b"}', "malformed_body", "each key of an object once, found 'name' again"),
        (b'{"name": "a", "more": [{"a": 1, "a": 1}]}', "malformed_body", "found 'a' again"),
        (b'{"name": NaN}', "malformed_body", "expected JSON, found NaN"),
        (b'{"name": -Infinity}', "malformed_body", "expected JSON, found -Infinity"),
        (b'{"name": ' + b"[" * 900 + b"]" * 900 + b"}", "malformed_body", "at most 100 levels"),
        (b'{"name": "a", "even": 3}', "invalid", "even: expected an even number"),
        (b'{"name": "a", "prompt": "\\ud800"}', "invalid", "expected valid Unicode, found a lone surrogate"),
        (b'{"name": "secret"}', "invalid", "name: String should have at most 5 characters, found 6"),
        (b"", "invalid", "body: Field required"),
    ],
)
async def test_body_that_cannot_be_read_is_refused_with_the_reason(
    client: httpx2.AsyncClient, content: bytes, code: str, expected: str
) -> None:
    response = await client.post("/things", content=content, headers={"content-type": "application/json"})
    error = response.json()["error"]
    assert error["code"] == code
    assert expected in error["message"]
    assert "secret" not in error["message"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/json; charset=latin-1", "multipart/form-data", "application/jsonx", ""]
)
async def test_other_content_type_is_unsupported(client: httpx2.AsyncClient, content_type: str) -> None:
    response = await client.post("/things", content=b'{"name": "a"}', headers={"content-type": content_type})
    assert (response.status_code, response.json()["error"]["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type", ["application/json", 'Application/JSON; charset="UTF-8"', "application/json;charset=utf8"]
)
async def test_json_in_utf8_is_read(client: httpx2.AsyncClient, content_type: str) -> None:
    response = await client.post("/things", content=b'{"name": "a"}', headers={"content-type": content_type})
    assert response.status_code == 200


async def test_path_and_method_that_nothing_has_are_reported() -> None:
    app = FastAPI()
    app.add_middleware(
        RequestScope,
        answers=ErrorAnswers({}, ServiceError("internal error")),
        finished=lambda record: None,
        make_record=RequestRecord,
    )
    install_translation(app, invalid=InvalidError, malformed=MalformedError)
    app.get("/things")(lambda: None)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://here") as client:
        missing, refused = await client.get("/nothing"), await client.put("/things")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert (refused.status_code, refused.json()["error"]["code"]) == (405, "method_not_allowed")
    assert refused.headers["allow"] == "GET"


def test_fault_of_the_whole_has_no_place() -> None:
    assert (
        describe_faults([{"type": "value_error", "loc": (), "msg": "Value error, expected a or b"}])
        == "expected a or b"
    )


def test_form_whose_type_fits_says_what_is_wrong() -> None:
    """The other forms only say that the type is another."""
    assert "at most 1 item" in faults_of({"name": "a", "prompt": ["a", "b"]})
    assert "valid string" not in faults_of({"name": "a", "prompt": ["a", "b"]})
    assert "valid string" in faults_of({"name": "a", "prompt": 7})


def test_forms_of_a_field_are_no_part_of_its_place() -> None:
    """pydantic names them by its own types and by functions of this code."""
    for prompt in ("\ud800", ["\ud800"], 7, ["a", "b"]):
        places = [fault.partition(": ")[0] for fault in faults_of({"name": "a", "prompt": prompt}).split("; ")]
        assert set(places) <= {"prompt", "prompt.0", "prompt.str"}


def test_first_faults_are_reported_and_the_others_counted() -> None:
    text = faults_of({f"extra{i}": 1 for i in range(9)})
    assert text.count(";") == 5
    assert text.endswith("; and 5 more")


def test_names_that_the_client_made_up_are_cut_and_escaped() -> None:
    text = faults_of({"name": "a", "bad\n\x1b" + "x" * 100: 1})
    assert "\n" not in text
    assert "\x1b" not in text
    assert "x" * 60 not in text
