"""Rule: bounds of numbers in a JSON Schema, in normal form, and which decimals a device writes within them.

A grammar spells a number within bounds digit by digit, without an exponent. So that no decimal is rounded over a bound
when it is read as a 64-bit float, it has few digits behind the point (`written_range`). What it writes is then always
within the bounds; not every number within them is written.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from loragen.contract.errors import FormatError
from loragen.contract.limits import MAX_SCHEMA_REPEATS

BOUND_KEYWORDS = frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))

_DIGITS = 15
"""In front of the point. A 64-bit float tells all numbers of 15 digits apart."""

_DECIMALS = 6
"""Behind the point, at most."""


@dataclass(frozen=True, slots=True)
class WrittenRange:
    """The decimals that a device writes: `low` to `high`, both included, in units of the last place.

    Attributes:
        decimals: Digits behind the point, at most.
    """

    low: int
    high: int
    decimals: int


def canonical_number(kind: str, keywords: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The schema of a number or an integer in normal form.

    Args:
        kind: `number` or `integer`.
        keywords: Of `BOUND_KEYWORDS`; others are left out.
        place: For messages.

    Raises:
        FormatError: A bound is no number, no number is within the bounds, or `multipleOf` is one that no grammar holds.
    """
    exact = {
        key: _exact(value, f"{place}.{key}")
        for key, value in keywords.items()
        if key in BOUND_KEYWORDS and not (key.startswith("exclusive") and isinstance(value, bool))
    }
    fields: dict[str, Any] = {"type": kind}
    for key, exclusive, is_tighter in (
        ("maximum", "exclusiveMaximum", Fraction.__le__),
        ("minimum", "exclusiveMinimum", Fraction.__ge__),
    ):
        bound, open_bound = exact.get(key), exact.get(exclusive)
        if keywords.get(exclusive) is True:  # as OpenAPI 3.0 has it
            bound, open_bound = None, bound
        if open_bound is not None and (bound is None or is_tighter(open_bound, bound)):
            fields[exclusive] = _plain(open_bound)
        elif bound is not None:
            fields[key] = _plain(bound)
    if kind == "integer":
        fields = _of_integers(fields)
    step = exact.get("multipleOf")
    if step is not None and step <= 0:
        raise FormatError(f"{place}.multipleOf: expected a number above 0")
    if step is not None and not (kind == "integer" and 1 % step == 0):
        return _of_multiples(fields, step, place)
    _verify_some(written_range(fields), place)
    return dict(sorted(fields.items()))


def written_range(schema: Mapping[str, Any]) -> WrittenRange:
    """The decimals that a device writes for a schema of a number or an integer.

    Args:
        schema: As `canonical_number` makes it; it may have no bounds.
    """
    low, high, decimals = -(10**_DIGITS) + 1, 10**_DIGITS - 1, 0
    bounds = {key: Fraction(str(schema[key])) for key in BOUND_KEYWORDS & schema.keys()}
    if "multipleOf" in bounds:
        decimals = _power(bounds.pop("multipleOf")) or 0
    elif schema["type"] == "number":
        near = [len(str(int(abs(bound)))) for bound in bounds.values() if abs(bound) <= high]
        decimals = min(_DECIMALS, _DIGITS - max(near, default=0))
    unit = 10**decimals
    low, high = low * unit, high * unit
    for key, bound in bounds.items():
        scaled, is_open = bound * unit, key.startswith("exclusive")
        if key in ("minimum", "exclusiveMinimum"):
            low = max(low, math.floor(scaled) + 1 if is_open else math.ceil(scaled))
        else:
            high = min(high, math.ceil(scaled) - 1 if is_open else math.floor(scaled))
    return WrittenRange(low, high, decimals)


def is_in_bounds(value: float, schema: Mapping[str, Any]) -> bool:
    """Whether a number keeps to the bounds of a schema in normal form."""
    step = schema.get("multipleOf")
    return (
        value >= schema.get("minimum", value)
        and value <= schema.get("maximum", value)
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        and (step is None or Fraction(str(value)) % Fraction(str(step)) == 0)
    )


def _of_integers(fields: dict[str, Any]) -> dict[str, Any]:
    """With the first and the last integer within, so that equal bounds look equal."""
    found: dict[str, Any] = {"type": "integer"}
    for key, bound in fields.items():
        match key:
            case "minimum":
                found["minimum"] = math.ceil(bound)
            case "exclusiveMinimum":
                found["minimum"] = math.floor(bound) + 1
            case "maximum":
                found["maximum"] = math.floor(bound)
            case "exclusiveMaximum":
                found["maximum"] = math.ceil(bound) - 1
    return found


def _of_multiples(fields: dict[str, Any], step: Fraction, place: str) -> dict[str, Any]:
    """With `multipleOf` where it only says how many digits are behind the point; else all values, when they are few."""
    if step == 1:
        return canonical_number("integer", fields, place)
    if fields["type"] == "number" and _power(step) is not None:
        fields = {**fields, "multipleOf": _plain(step)}
        _verify_some(written_range(fields), place)
        return dict(sorted(fields.items()))
    low, high = (
        next((Fraction(str(fields[key])) for key in keys if key in fields), None)
        for keys in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))
    )
    if low is None or high is None or high - low > step * MAX_SCHEMA_REPEATS:
        raise FormatError(
            f"{place}.multipleOf: expected 1, a power of ten from 0.1 to {10**-_DECIMALS:f} for a number, or 'minimum' "
            f"and 'maximum' with at most {MAX_SCHEMA_REPEATS} multiples between them"
        )
    multiples = (_plain(step * count) for count in range(math.floor(low / step), math.floor(high / step) + 1))
    values = [value for value in multiples if is_in_bounds(value, fields)]
    if not values:
        raise FormatError(f"{place}: expected bounds with a multiple of multipleOf between them")
    return {"enum": values}


def _verify_some(written: WrittenRange, place: str) -> None:
    if written.low > written.high:
        raise FormatError(
            f"{place}: expected bounds with a number between them, of at most {_DIGITS} digits in front of the point "
            f"and {written.decimals} behind it"
        )


def _exact(value: object, place: str) -> Fraction:
    """A number as it is written in decimals."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise FormatError(f"{place}: expected a number, found {type(value).__name__}")
    return Fraction(str(value))


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _plain(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 and abs(value) < 10**20 else float(value)


def _power(step: Fraction) -> int | None:
    """How many digits behind the point a power of ten lets be; None for another number, or for too many digits."""
    return next((places for places in range(1, _DECIMALS + 1) if step * 10**places == 1), None)
