"""Checks of the fields of request bodies that pydantic does not make."""

from typing import Annotated, Any

from pydantic import AfterValidator

from loragen.visible_text import UNSEEN


def verify_unicode(text: str) -> str:
    """The text itself, when it can be encoded. JSON can spell half of a surrogate pair, which no encoder takes.

    Raises:
        ValueError: It has such a half.
    """
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise ValueError("expected valid Unicode, found a lone surrogate") from e
    return text


def verify_few(fields: Any, most: int) -> Any:
    """The fields themselves, when there are at most so many. Pydantic counts only after it has read them all.

    Raises:
        ValueError: There are more.
    """
    if isinstance(fields, dict) and len(fields) > most:
        raise ValueError(f"expected at most {most} items, found {len(fields)}")
    return fields


def without_nulls(fields: Any, most: int) -> Any:
    """A JSON object with at most so many fields, in which null means the same as leaving a field out.

    Raises:
        ValueError: There are more fields.
    """
    if not isinstance(fields, dict):
        return fields
    verify_few(fields, most)
    return {name: value for name, value in fields.items() if value is not None}


def verify_visible(text: str) -> str:
    """The text itself, when people can see all of it where it is shown, and on one line.

    Raises:
        ValueError: It has control characters, ends of lines, or what turns the direction of a text.
    """
    if UNSEEN.search(text):
        raise ValueError("expected one line without control characters")
    return text


Text = Annotated[str, AfterValidator(verify_unicode)]
"""A text that can be encoded."""
