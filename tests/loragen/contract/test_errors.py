"""The error tree of the contract."""

from loragen.contract import errors
from loragen.contract.errors import ContractError


def test_every_error_has_its_own_code() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ContractError)]
    assert len({error.code for error in classes}) == len(classes) == 7
