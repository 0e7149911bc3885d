"""The error tree and its table."""

import re
from collections.abc import Iterator

import pytest

from cloud_service import errors
from cloud_service.errors import STATUS, CloudError, PromptTooLongError, status_of


def _tree(error: type[CloudError] = CloudError) -> Iterator[type[CloudError]]:
    yield error
    for child in error.__subclasses__():
        yield from _tree(child)


def test_table_is_total_and_has_nothing_else() -> None:
    assert set(STATUS) == set(_tree())


def test_docstring_draws_the_tree() -> None:
    assert errors.__doc__ is not None
    assert set(re.findall(r"\w+Error", errors.__doc__)) - {"ContractError"} == {error.__name__ for error in _tree()}


@pytest.mark.parametrize("error", list(_tree()))
def test_name_and_code_follow_the_rules(error: type[CloudError]) -> None:
    assert error.__name__.endswith("Error")
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert error.__doc__


def test_codes_differ() -> None:
    codes = [error.code for error in _tree()]
    assert len(set(codes)) == len(codes)


def test_status_of_an_error_is_that_of_its_class() -> None:
    assert status_of(PromptTooLongError(2, 1)).http == 422
