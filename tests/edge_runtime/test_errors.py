"""The error tree."""

import re

import pytest

import edge_runtime.errors
from edge_runtime.errors import MAX_MESSAGE_CHARS, BusyError, CloudStatusError, EdgeError, UpdateError, describe_error


def tree(root: type[EdgeError]) -> set[type[EdgeError]]:
    """A class and everything below it."""
    return {root}.union(*(tree(child) for child in root.__subclasses__()))


def test_every_class_stands_in_the_drawn_tree() -> None:
    drawn = set(re.findall(r"(\w+Error)\b", edge_runtime.errors.__doc__ or "")) - {"ContractError"}
    assert drawn == {error.__name__ for error in tree(EdgeError)}


def test_codes_are_words_and_unique() -> None:
    codes = [error.code for error in tree(EdgeError)]
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)
    assert len(set(codes)) == len(codes)


def test_error_carries_message_hint_and_code() -> None:
    error = BusyError("all busy", "wait", retry_after_seconds=3, code="starting")
    assert (str(error), error.hint, error.code, error.retry_after_seconds) == ("all busy", "wait", "starting", 3)
    assert BusyError("x").code == "overloaded"
    assert CloudStatusError("x", status=503, retry_after_seconds=4.0).retry_after_seconds == 4.0


@pytest.mark.parametrize("error", [UpdateError("\0" * 90_000, "ask again"), ValueError("\0" * 90_000)])
def test_message_of_any_length_is_cut(error: Exception) -> None:
    """It quotes foreign bytes: a few dozen long ones made the state too large to be loaded again."""
    assert describe_error(error) == describe_error(error)[: MAX_MESSAGE_CHARS - 1] + "…"
    assert describe_error(UpdateError("short", "ask again")) == "short; hint: ask again"
