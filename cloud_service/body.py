"""The base of request bodies: immutable, few fields, unknown ones refused, null the same as leaving a field out."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from loragen.web.body_fields import without_nulls

_MAX_FIELDS = 16
"""More than any body has. Pydantic reports each unknown key, and a body can hold very many of them."""


def _verify_number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError(f"expected a number, found {type(value).__name__}")
    return value


Whole = Annotated[int, BeforeValidator(_verify_number)]
"""A number without a fraction: neither a text nor true, which pydantic would take for one."""

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number, likewise."""


class Body(BaseModel):
    """A JSON object of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_without_nulls(cls, fields: Any) -> Any:
        return without_nulls(fields, _MAX_FIELDS)
