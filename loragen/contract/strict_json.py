"""JSON that every reader understands alike, and that can be handled without counting its levels again.

Refused are a key twice in one object, which readers resolve differently; NaN and infinity, which JSON does not have,
and numbers that many readers take for infinity; and nesting that some later step would fail at, since Python handles
JSON by recursion.
"""

import json
import math
from collections import Counter
from typing import Any, NoReturn

from loragen.contract.errors import FormatError, LimitError

MAX_JSON_DEPTH = 100
"""Levels of arrays and objects. The deepest schema of a tool that is taken needs 40; Python stops near 1,000, less what
is on the stack already."""


def load_strict_json(text: str | bytes) -> Any:
    """The value of a JSON text; bytes are UTF-8.

    Raises:
        FormatError: It is no JSON, or readers may understand it differently.
        LimitError: It is too deep.
    """
    try:
        value = json.loads(text, object_pairs_hook=_fields, parse_constant=_refuse_constant, parse_float=_finite_number)
    except RecursionError as e:
        raise _too_deep() from e
    except UnicodeDecodeError as e:
        raise FormatError(f"expected UTF-8, found {e.reason} at byte {e.start}") from e
    except json.JSONDecodeError as e:
        raise FormatError(f"expected JSON, found a fault at character {e.pos}: {e.msg}") from e
    except ValueError as e:  # of all that is JSON, Python refuses only numbers of too many digits
        raise FormatError("expected JSON with numbers of reasonable length, found a longer one") from e
    _verify_depth(value)
    return value


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise FormatError(f"expected each key of an object once, found {twice[:64]!a} again", hint="send it once")
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise FormatError(f"expected JSON, found {name}", hint="JSON has no numbers that are not finite")


def _finite_number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise FormatError(f"expected JSON with numbers of reasonable size, found {text[:40]}")
    return value


def _verify_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> LimitError:
    return LimitError(f"expected JSON of at most {MAX_JSON_DEPTH} levels, found deeper nesting")
