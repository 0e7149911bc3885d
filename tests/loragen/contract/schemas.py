"""Helper: JSON Schemas drawn at random, as clients write them; not all of them are supported."""

from typing import Any

from hypothesis import strategies as st

from loragen.contract.text_formats import PATTERN_OF_FORMAT

NAMES = st.text(min_size=1, max_size=6) | st.sampled_from(
    ["city", "value", "space", "char", "string", "decimal part", "root"]
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=8) | st.floats(-1e9, 1e9)
BOUNDS = st.integers(-(10**6), 10**6) | st.floats(-100, 100)
COUNTS = st.integers(0, 4)


def _optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


_PART = st.sampled_from(
    [
        "a",
        "é",
        r"\.",
        r'"',
        r"\\",
        "/",
        "-",
        ".",
        r"\d",
        r"\w",
        r"\S",
        "[a-c]",
        "[^a-z]",
        r"[\w.-]",
        r'["\\]',
        r"\u0041",
        "()",
        "(a{0})",
    ]
)
PATTERNS = st.recursive(
    st.tuples(_PART, st.sampled_from(["", "", "+", "{2}", "{1,3}", "*?"])).map("".join),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        inner.map(lambda part: f"(?:{part}x){{0,2}}"),
        inner.map(lambda part: f"({part})?"),
    ),
    max_leaves=5,
)
"""Most of them of the kind that is supported."""

LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["number", "integer", "boolean", "null", "object", "array"]).map(lambda kind: {"type": kind}),
    _optional(
        type=st.sampled_from(["number", "integer"]),
        minimum=BOUNDS,
        maximum=BOUNDS,
        exclusiveMinimum=BOUNDS,
        multipleOf=st.sampled_from([1, 0.1, 5]),
    ),
    _optional(
        type=st.just("string"),
        minLength=COUNTS,
        maxLength=st.integers(0, 9),
        title=st.text(max_size=4),
        format=st.sampled_from(["password", *PATTERN_OF_FORMAT]),
        pattern=st.sampled_from(["^(?!a)", "^.{9,30}$", "1", "@"]),
    ),
    st.lists(SCALARS, min_size=1, max_size=5).map(lambda values: {"enum": values}),
    SCALARS.map(lambda value: {"const": value}),
    st.just({}),
    st.just({"type": ["string", "null"], "maxLength": 3}),
    st.tuples(st.sampled_from(["^{}$", "{}"]), PATTERNS).map(
        lambda drawn: {"type": "string", "pattern": drawn[0].format(drawn[1])}
    ),
    st.tuples(_PART, COUNTS, COUNTS).map(
        lambda drawn: {"pattern": f"^b{drawn[0]}*$", "minLength": drawn[1], "maxLength": drawn[1] + drawn[2]}
    ),
    _optional(type=st.just("object"), minProperties=st.integers(0, 2), maxProperties=st.integers(0, 3)),
    st.sampled_from([{"pattern": "^[a-c]{1,3}$"}, {"minLength": 2}, {"format": "uuid"}]).map(
        lambda names: {"type": "object", "propertyNames": names, "additionalProperties": {"type": "boolean"}}
    ),
    st.just({"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "null"}}),
    st.just({"$ref": "#/$defs/thing"}),
)


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        _optional(type=st.just("array"), items=inner, minItems=COUNTS, maxItems=st.integers(0, 6)),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"type": "array", "prefixItems": parts}),
        st.tuples(st.dictionaries(NAMES, inner, max_size=4), st.booleans() | inner).flatmap(
            lambda drawn: st.lists(st.sampled_from(sorted(drawn[0]) or [""]), max_size=3).map(
                lambda required: {
                    "type": "object",
                    "properties": drawn[0],
                    "required": required,
                    "additionalProperties": drawn[1],
                }
            )
        ),
    )


SCHEMAS: st.SearchStrategy[Any] = st.recursive(LEAVES, _larger, max_leaves=8).map(
    lambda schema: {**schema, "$defs": {"thing": {"type": "object", "properties": {"x": {"type": "integer"}}}}}
)
