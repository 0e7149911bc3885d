"""Rule: the values of an `enum` in a JSON Schema, in normal form: scalars, each once, of the types beside it."""

import math
from collections.abc import Sequence

from loragen.contract.errors import FormatError, LimitError
from loragen.contract.limits import MAX_CHOICE_BYTES, MAX_CHOICES

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int, float),
    "number": (int, float),
    "null": (type(None),),
}


def enum_values(values: object, kinds: object, place: str) -> list[object]:
    """The values of an enum that a device may write.

    Args:
        values: As the schema has them.
        kinds: `type` beside them: a name, a list of names, or None for any.
        place: For messages.

    Raises:
        FormatError: They are no list of scalars, or none is of the types.
        LimitError: They are too many, or one is too long.
    """
    if not isinstance(values, list) or not values:
        raise FormatError(f"{place}: expected a list of values")
    if len(values) > MAX_CHOICES:
        raise LimitError(f"{place}: expected at most {MAX_CHOICES} values, found {len(values)}")
    found: dict[tuple[type, object], object] = {}
    for value in values:
        if value is not None and type(value) not in (str, int, bool, float):
            raise FormatError(f"{place}: expected texts, numbers, true, false or null, found {type(value).__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            raise FormatError(f"{place}: expected finite numbers")
        verified_text(str(value), place)
        found[type(value), value] = value
    taken = [value for value in found.values() if kinds is None or _is_of(value, kinds)]
    if not taken:
        raise FormatError(f"{place}: expected values of the type beside it")
    return taken


def verified_text(text: str, place: str, most: int = MAX_CHOICE_BYTES) -> str:
    """The text, when it is Unicode and takes no more than `most` bytes.

    Raises:
        ContractError: It is not.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError as e:
        raise FormatError(f"{place}: expected Unicode, found half a surrogate pair") from e
    if size > most:
        raise LimitError(f"{place}: expected texts of at most {most} bytes, found {size}")
    return text


def _is_of(value: object, kinds: object) -> bool:
    names: Sequence[object] = kinds if isinstance(kinds, list) else [kinds]
    if isinstance(value, bool):
        return "boolean" in names
    if isinstance(value, float) and not value.is_integer():
        return "number" in names
    return any(isinstance(value, _TYPES[name]) for name in names if isinstance(name, str) and name in _TYPES)
