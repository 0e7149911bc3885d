"""Parts that several bodies share: objects without nulls, and texts of bounded length."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from loragen.web.body_fields import without_nulls

MAX_FIELDS = 128
"""In one object; OpenAI's and vLLM's fields together are fewer."""


class Fields(BaseModel):
    """An object of a request, in which null means the same as leaving a field out."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, fields: Any) -> Any:
        return without_nulls(fields, MAX_FIELDS)


class OpenFields(Fields):
    """One whose unknown fields are looked at by `serving.neutral_fields`."""

    model_config = ConfigDict(extra="allow")
