"""JSON that every reader understands alike is read, and nothing else."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragen.contract.errors import ContractError, FormatError, LimitError
from loragen.contract.strict_json import MAX_JSON_DEPTH, load_strict_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(value=VALUES)
def test_what_json_writes_is_read(value: Any) -> None:
    text = json.dumps(value)
    assert load_strict_json(text) == load_strict_json(text.encode()) == value


@given(data=st.binary(max_size=40))
def test_any_bytes_raise_contract_errors_alone(data: bytes) -> None:
    with contextlib.suppress(ContractError):
        load_strict_json(data)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ('{"a": 1, "a": 1}', FormatError, "once, found 'a' again"),
        ('[{"b": {"a": 1, "c": 2, "a": 1}}]', FormatError, "found 'a' again"),
        ("[NaN]", FormatError, "found NaN"),
        ("-Infinity", FormatError, "found -Infinity"),
        ("[1e999]", FormatError, "reasonable size, found 1e999"),
        ("{", FormatError, "a fault at character 1"),
        (b'"\xff"', FormatError, "expected UTF-8"),
        ("9" * 9_000, FormatError, "a longer one"),
        ("[" * (MAX_JSON_DEPTH + 1) + "]" * (MAX_JSON_DEPTH + 1), LimitError, "at most 100 levels"),
        ('{"a":' * (MAX_JSON_DEPTH + 1) + "1" + "}" * (MAX_JSON_DEPTH + 1), LimitError, "at most 100 levels"),
        ("[" * 100_000, LimitError, "at most 100 levels"),
    ],
)
def test_what_readers_understand_differently_is_refused(
    text: str | bytes, kind: type[ContractError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        load_strict_json(text)


def test_many_levels_are_read_to_the_limit() -> None:
    assert load_strict_json("[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH)
