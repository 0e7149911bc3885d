"""Base of what services answer, for the service that says it and for the client that reads it."""

from pydantic import BaseModel, ConfigDict


class AnswerModel(BaseModel):
    """An immutable value; fields that a later service adds are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
