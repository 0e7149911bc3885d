"""The error tree."""

import re

import pytest

from cloud_service import errors
from cloud_service.errors import CloudError
from tests.cloud_service.error_tree import tree


def test_docstring_draws_the_tree() -> None:
    assert errors.__doc__ is not None
    assert set(re.findall(r"\w+Error", errors.__doc__)) - {"ContractError"} == {
        error.__name__ for error in tree(CloudError)
    }


@pytest.mark.parametrize("error", list(tree(CloudError)))
def test_name_and_code_follow_the_rules(error: type[CloudError]) -> None:
    assert error.__name__.endswith("Error")
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert error.__doc__


def test_codes_differ() -> None:
    codes = [error.code for error in tree(CloudError)]
    assert len(set(codes)) == len(codes)
