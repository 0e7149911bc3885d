"""Checks of fields that pydantic does not make."""

import pytest
from pydantic import BaseModel, ValidationError

from loragen.web.body_fields import Text, verify_few, verify_unicode


class Body(BaseModel):
    text: Text


@pytest.mark.parametrize("text", ["", "Größe", "\U0001f600", "\x00"])
def test_text_that_can_be_encoded_is_taken(text: str) -> None:
    assert verify_unicode(text) == text
    assert Body(text=text).text == text


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\udc00\ud800"])
def test_half_of_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="lone surrogate"):
        Body.model_validate({"text": text})


def test_fields_are_counted_before_they_are_read() -> None:
    assert verify_few({"a": 1}, 1) == {"a": 1}
    assert verify_few(["a", "b"], 1) == ["a", "b"], "what is no object is left to pydantic"
    with pytest.raises(ValueError, match="at most 1 items, found 2"):
        verify_few({"a": 1, "b": 2}, 1)
