"""The base of request bodies: immutable, few fields, unknown ones refused, null the same as leaving a field out."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from loragen.web.body_fields import without_nulls

_MAX_FIELDS = 16
"""More than any body has. Pydantic reports each unknown key, and a body can hold very many of them."""


class Body(BaseModel):
    """A JSON object of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_without_nulls(cls, fields: Any) -> Any:
        return without_nulls(fields, _MAX_FIELDS)
