"""The error tree of the contract."""

import pytest

from loragen.contract import errors
from loragen.contract.errors import ContractError, checked_value


def test_every_error_has_its_own_code() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ContractError)]
    assert len({error.code for error in classes}) == len(classes) == 7


def test_validators_of_pydantic_get_a_value_error_with_the_same_message() -> None:
    def refuse(value: str) -> str:
        raise errors.FormatError(f"expected a name, found {value!r}")

    assert checked_value(str.upper, "a") == "A"
    with pytest.raises(ValueError, match="expected a name, found 'a'"):
        checked_value(refuse, "a")
