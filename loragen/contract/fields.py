"""Fields of a header: one text form for each value, and range checks that values and parsers share.

safetensors metadata hold strings only. Each number has exactly one text form, so equal headers are equal bytes.
Each format has one table of its fields: key in the file, and one of the text forms below.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from loragen.contract.errors import FormatError, LimitError

FORMAT_KEY = "loragen.format"
VERSION_KEY = "loragen.version"

_COUNT = re.compile(r"0|[1-9][0-9]{0,18}")
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{0,5}[1-9])?")


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


@dataclass(frozen=True, slots=True)
class TextForm:
    """How one kind of value is written and read; both functions get the field's name for their errors."""

    write: Callable[[Any, str], str]
    read: Callable[[str, str], Any]


TEXT = TextForm(lambda value, _: value, lambda text, _: text)
TEXT_OR_NONE = TextForm(lambda value, _: value or "", lambda text, _: text or None)
COUNT = TextForm(lambda value, _: str(value), parse_count)
DECIMAL = TextForm(format_decimal, parse_decimal)


def encode_fields(values: object, forms: Mapping[str, TextForm]) -> dict[str, str]:
    """The fields of a header, from attributes of `values`; `loragen.edge_model.id` is `edge_model_id`.

    Raises:
        FormatError: A value has no text form.
    """
    return {key: form.write(getattr(values, _attribute(key)), _attribute(key)) for key, form in forms.items()}


def parse_fields(metadata: Mapping[str, str], forms: Mapping[str, TextForm]) -> dict[str, Any]:
    """The values by attribute name, from a header with exactly these fields besides format and version.

    Raises:
        FormatError: A field is missing, unknown or malformed.
    """
    expected = {*forms, FORMAT_KEY, VERSION_KEY}
    if metadata.keys() != expected:
        missing, unknown = sorted(expected - metadata.keys()), sorted(metadata.keys() - expected)
        raise FormatError(f"header fields missing: {missing}, unknown: {ascii(unknown)[:200]}")
    return {_attribute(key): form.read(metadata[key], _attribute(key)) for key, form in forms.items()}


def _attribute(key: str) -> str:
    return key.removeprefix("loragen.").replace(".", "_")
