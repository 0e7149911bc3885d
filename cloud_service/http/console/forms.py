"""What forms of the console carry, and what it has to be.

Each form of a channel carries the state that its page showed, so that nobody overwrites a later change of somebody
else.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Query, Request
from pydantic import BaseModel, ValidationError

from cloud_service.errors import InvalidRequestError
from cloud_service.fleet.channel_writer import Condition
from loragen.contract.errors import ContractError
from loragen.contract.polling import parse_labels
from loragen.contract.strict_json import load_strict_json
from loragen.web.own_page import verify_own_page
from loragen.web.translation import describe_faults

FormFields = Mapping[str, str]

Before = Annotated[int | None, Query(ge=0, lt=2**62)]
Word = Annotated[str, Query(max_length=200)]

_Body = TypeVar("_Body", bound=BaseModel)

_MOST_FIELDS = 20


async def read_form(request: Request) -> FormFields:
    """The fields of a form that a page of the console sent.

    Raises:
        OriginError: Another page sent it.
    """
    verify_own_page(request)
    async with request.form(max_files=0, max_fields=_MOST_FIELDS) as form:
        texts = {name: value for name, value in form.items() if isinstance(value, str)}
    # Browsers end the lines of a text with both.
    return {name: text.replace("\r\n", "\n").strip() for name, text in texts.items()}


def as_seen(fields: FormFields) -> Condition:
    """The condition that a channel is as the form's page showed it."""
    seen = fields.get("digest")
    return lambda digest, _exists: seen is None or digest == seen


def body_of(schema: type[_Body], **fields: Any) -> _Body:
    """Fields as the API has them.

    Raises:
        InvalidRequestError: They are not what the schema says.
    """
    try:
        return schema.model_validate(fields)
    except ValidationError as e:
        raise InvalidRequestError(describe_faults(e.errors())) from e


def number_of(fields: FormFields, name: str) -> float:
    """A field that is a number.

    Raises:
        InvalidRequestError: It is none.
    """
    try:
        number = float(fields.get(name, ""))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequestError(f"{name}: expected a number")
    return number


def labels_of(fields: FormFields) -> dict[str, str]:
    """A field that has labels.

    Raises:
        InvalidRequestError: It has something else.
    """
    try:
        return parse_labels(fields.get("labels", ""))
    except ContractError as e:
        raise InvalidRequestError(str(e), e.hint) from e


def pairs_of(fields: FormFields, name: str) -> list[dict[str, Any]]:
    """A field with a line for each input and output, or with these as a JSON array, where they have several lines.

    Raises:
        InvalidRequestError: A line has no arrow.
    """
    text = fields.get(name, "")
    if text.startswith("["):
        try:
            listed = load_strict_json(text)
        except ContractError:
            listed = None  # a line that begins with a bracket
        if isinstance(listed, list) and all(isinstance(each, dict) for each in listed):
            return listed
    pairs = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        given, arrow, answer = (part.strip() for part in line.partition("=>"))
        if not arrow:
            raise InvalidRequestError(f"{name}: expected INPUT => OUTPUT in line {number}")
        pairs.append({"input": given, "output": answer})
    return pairs


def tools_of(fields: FormFields) -> list[Any]:
    """A field with tools as JSON: an array, one tool, or a whole request that has `tools`.

    Raises:
        InvalidRequestError: It is no JSON.
    """
    text = fields.get("tools", "")
    if not text:
        return []
    try:
        given = load_strict_json(text)
    except ContractError as e:
        raise InvalidRequestError(f"tools: {e}", "an array of tools as OpenAI, Anthropic or MCP write them") from e
    listed = given.get("tools", [given]) if isinstance(given, dict) else given
    if not isinstance(listed, list):
        raise InvalidRequestError("tools: expected a JSON array of tools, found another value")
    return listed
