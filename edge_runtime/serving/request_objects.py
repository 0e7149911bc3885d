"""The base of what requests are made of: in an object null says nothing, and a number is neither a text nor true."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from loragen.web.body_fields import without_nulls

MAX_FIELDS = 128
"""In one object; OpenAI's and vLLM's fields together are fewer."""


class Fields(BaseModel):
    """An object of a request, in which null means the same as leaving a field out, and 8.0 the same as 8."""

    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, fields: Any) -> Any:
        found = without_nulls(fields, MAX_FIELDS)
        if not isinstance(found, dict):
            return found
        return {
            name: int(value) if isinstance(value, float) and value.is_integer() else value
            for name, value in found.items()
        }


class OpenFields(Fields):
    """One whose unknown fields are looked at by `serving.neutral_fields`."""

    model_config = ConfigDict(extra="allow")
