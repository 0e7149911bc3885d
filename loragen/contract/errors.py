"""Errors of the contract: the ways in which bytes, names or values can break what cloud and edge agreed on.

    ContractError
    ├── FormatError      the bytes or the value are not what the format says
    ├── VersionError     a format version that this code does not know
    ├── LimitError       a size, count or length over its named limit
    ├── MismatchError    two things that should belong together do not: a digest, a model, a shape
    ├── NonFiniteError   NaN or infinity where a weight or a gate should be
    └── UnsupportedError something that is valid elsewhere, and that the formats here cannot hold

Parsing any bytes raises nothing else. The services decide which HTTP status or gRPC code an error becomes.
"""

from collections.abc import Callable
from typing import ClassVar, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class ContractError(Exception):
    """Base of all errors of this package. `str(error)` says what was expected and what was found.

    Attributes:
        code: Stable word for machines.
        hint: What an operator or client can do about it; may be empty.
    """

    code: ClassVar[str] = "contract_error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class FormatError(ContractError):
    """The bytes or the value are not what the format says."""

    code = "invalid_format"


class VersionError(ContractError):
    """A format version that this code does not know."""

    code = "unsupported_format_version"


class LimitError(ContractError):
    """A size, count or length over its named limit."""

    code = "limit_exceeded"


class MismatchError(ContractError):
    """Two things that should belong together do not."""

    code = "mismatch"


class NonFiniteError(ContractError):
    """NaN or infinity where a number should be."""

    code = "non_finite"


class UnsupportedError(ContractError):
    """Something that is valid elsewhere, and that the formats here cannot hold."""

    code = "unsupported"


def checked_value(verify: Callable[[T], R], value: T) -> R:
    """What `verify` makes of a value, for a validator of pydantic, which reports a ValueError beside the field.

    Raises:
        ValueError: `verify` raised a ContractError.
    """
    try:
        return verify(value)
    except ContractError as e:
        raise ValueError(f"{e}; {e.hint}" if e.hint else str(e)) from e
