"""Checks of fields that pydantic does not make."""

import pytest
from pydantic import BaseModel, ValidationError

from loragen.web.body_fields import Text, verify_few, verify_unicode, verify_visible


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


@pytest.mark.parametrize("text", ["a\0", "a\nb", "a\rb", "\x1b[31ma", "a\x85", "a\u2028b", "a\u202eb", "a\u2066b"])
def test_text_of_which_people_see_less_than_there_is_is_refused(text: str) -> None:
    assert verify_visible("Größe  \U0001f600 عربي") == "Größe  \U0001f600 عربي"
    with pytest.raises(ValueError, match="one line without control characters"):
        verify_visible(text)


def test_fields_are_counted_before_they_are_read() -> None:
    assert verify_few({"a": 1}, 1) == {"a": 1}
    assert verify_few(["a", "b"], 1) == ["a", "b"], "what is no object is left to pydantic"
    with pytest.raises(ValueError, match="at most 1 items, found 2"):
        verify_few({"a": 1, "b": 2}, 1)
