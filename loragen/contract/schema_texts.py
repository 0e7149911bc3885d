"""Rule: which texts a schema of a string means, and how they are written: its pattern, format and length together.

What a pattern alone says is written as its parts. Where more must hold at once, such as a pattern and a length that it
does not say itself, the states that a text goes through are computed, and a grammar has a rule for each.
The schemas are those that `loragen.contract.json_schema` takes, in its normal form.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from loragen.contract.errors import FormatError, LimitError
from loragen.contract.text_automaton import TextState, automaton_of, states_of
from loragen.contract.text_formats import PATTERN_OF_FORMAT, WRITTEN_FORMAT
from loragen.contract.text_pattern import Part, Pattern, lengths_of, of_length, parse_pattern, parts_of

_STEPS_OF_A_PART = 8
_PARTS_OF_A_FORMAT = 4_096


def is_plain(schema: Mapping[str, Any]) -> bool:
    """Whether a schema of a string says nothing but a length."""
    return "pattern" not in schema and "format" not in schema


def takes_text(schema: Mapping[str, Any], text: str) -> bool:
    """Whether a text is one of a schema's."""
    if not schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", len(text)):
        return False
    needed, forbidden = _parts(schema.get("pattern"), schema.get("format"))
    return all(automaton_of(part).takes(text) for part in needed) and not any(
        automaton_of(part).takes(text) for part in forbidden
    )


def lengths_of_format(form: str) -> tuple[int, int | None]:
    """Fewest and most characters of a format's texts; None for any number."""
    return lengths_of(_of_format(PATTERN_OF_FORMAT[form]))


def written_texts(schema: Mapping[str, Any]) -> Part | tuple[TextState, ...]:
    """How the texts of a schema with a pattern or a format are written: as parts, or as states.

    Raises:
        FormatError: The pattern is none, or no text is of all that the schema says.
        LimitError: They take too many states.
    """
    return _written(schema.get("pattern"), schema.get("format"), schema.get("minLength", 0), schema.get("maxLength"))


def size_of_texts(schema: Mapping[str, Any]) -> int:
    """How many parts the texts of a schema with a pattern or a format cost a grammar, and whoever compares texts.

    Raises:
        ContractError: As for `written_texts`.
    """
    written = written_texts(schema)
    size = len(written) if isinstance(written, tuple) else 1 if "pattern" not in schema else parts_of(written)
    needed, forbidden = _parts(schema.get("pattern"), None)
    return max(size, sum(automaton_of(part).steps for part in (*needed, *forbidden)) // _STEPS_OF_A_PART)


@lru_cache(maxsize=256)
def _written(pattern: str | None, form: str | None, least: int, most: int | None) -> Part | tuple[TextState, ...]:
    needed, forbidden = _parts(pattern, form)
    if pattern is None and form is not None:
        written = _of_format(WRITTEN_FORMAT[form])
        fewest, longest = lengths_of(written)
        if least <= fewest and (most is None or (longest is not None and longest <= most)):
            return written
    elif len(needed) == 1 and not forbidden and (part := of_length(needed[0], least, most)) is not None:
        return part
    if form is not None and most is None:
        try:
            return _states((*needed, _of_format(WRITTEN_FORMAT[form])), forbidden, least, most)
        except LimitError:
            pass
    return _states(needed, forbidden, least, most)


def _states(needed: Sequence[Part], forbidden: Sequence[Part], least: int, most: int | None) -> tuple[TextState, ...]:
    found = states_of(needed, forbidden, least, most)
    if not found:
        raise FormatError("expected a text that is of the pattern, the format and the length at once, found none")
    return found


def _parts(pattern: str | None, form: str | None) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """What each text is made of, and what none is."""
    own = () if form is None else (_of_format(PATTERN_OF_FORMAT[form]),)
    if pattern is None:
        return own, ()
    found = _parsed(pattern)
    return (found.part, *found.ahead, *own), found.not_ahead


@lru_cache(maxsize=256)
def _parsed(pattern: str) -> Pattern:
    return parse_pattern(pattern)


@lru_cache(maxsize=32)
def _of_format(pattern: str) -> Part:
    return parse_pattern(pattern, _PARTS_OF_A_FORMAT).part
