"""Fields of a header: one text form for each value, and range checks that values and parsers share.

safetensors metadata hold strings only. Each number has exactly one text form, so that equal headers are equal bytes.
Which fields a header has is decided by the formats.
"""

import math
import re
from collections.abc import Mapping

from loragen.contract.errors import FormatError, LimitError

_COUNT = re.compile(r"0|[1-9][0-9]{0,18}")
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{0,5}[1-9])?")


def verify_keys(metadata: Mapping[str, str], expected: frozenset[str]) -> None:
    """Check that a header has exactly the fields of its format.

    Raises:
        FormatError: A field is missing or unknown.
    """
    if metadata.keys() != expected:
        missing, unknown = sorted(expected - metadata.keys()), sorted(metadata.keys() - expected)
        raise FormatError(f"header fields missing: {missing}, unknown: {ascii(unknown)[:200]}")


def verify_count(value: int, name: str, least: int, most: int) -> int:
    """Return `value` when least <= value <= most.

    Raises:
        FormatError: It is smaller, or not an int.
        LimitError: It is larger.
    """
    if type(value) is not int or value < least:
        raise FormatError(f"{name}: expected an integer of at least {least}, found {str(value)[:40]}")
    if value > most:
        raise LimitError(f"{name}: expected at most {most}, found {str(value)[:40]}")
    return value


def parse_count(text: str, name: str) -> int:
    """The integer written as decimal digits without sign or leading zeros.

    Raises:
        FormatError: Another text.
    """
    if _COUNT.fullmatch(text) is None:
        raise FormatError(f"{name}: expected decimal digits, found {text[:40]!a}")
    return int(text)


def format_decimal(value: float, name: str) -> str:
    """The text of a non-negative number with at most six decimals, without trailing zeros: `16`, `0.5`.

    Raises:
        FormatError: The number has more decimals, is negative, or not finite.
    """
    text = f"{value:.6f}".rstrip("0").rstrip(".") if math.isfinite(value) else ""
    if _DECIMAL.fullmatch(text) is None or float(text) != value:
        raise FormatError(f"{name}: expected a non-negative number with at most six decimals, found {value!r}")
    return text


def parse_decimal(text: str, name: str) -> float:
    """The number that `format_decimal` wrote, as the nearest float64.

    Raises:
        FormatError: Another text.
    """
    if _DECIMAL.fullmatch(text) is None:
        raise FormatError(f"{name}: expected a number with at most six decimals, found {text[:40]!a}")
    return float(text)
