"""Rule: the GBNF of texts of a pattern, for `serving.grammar`: as they stand in JSON, without the quotes.

Which patterns there are is `loragen.contract.text_pattern`.
"""

from collections.abc import Sequence

from loragen.contract.text_automaton import TextState
from loragen.contract.text_pattern import Characters, InOrder, OneOf, Part, Repeated

_ESCAPED = {'"': r'"\\\""', "\\": r'"\\\\"'}
"""Literals of what JSON escapes."""

BLOCK = 256
"""Characters of a long text that are one rule: so its bounds are spelled in some hundred parts. llama.cpp takes no more
than 2,000 repetitions."""

_RANGES_TO_REPEAT = 16
"""A set of more is a group: then llama.cpp repeats its name, not its ranges."""


def texts_of(part: Part) -> str:
    """An expression for the texts of a part."""
    match part:
        case Characters(ranges):
            return _character(ranges)
        case InOrder(parts):
            return f"({' '.join(map(texts_of, parts))})" if parts else '""'
        case OneOf(parts):
            return f"({' | '.join(map(texts_of, parts))})"
        case Repeated(Characters(ranges), least, most) if max(least, most or 0) > BLOCK:
            character = _character(ranges)
            return f"({repeated_character(character, f'({character}{{{BLOCK}}})', least, most)})"
        case Repeated(each, least, most):
            return f"{texts_of(each)}{{{least},{'' if most is None else most}}}" if most != 0 else '""'


def rules_of(states: Sequence[TextState], name: str) -> dict[str, str]:
    """Rules for texts that go through states, by their names; that of the beginning has the number 0.

    Args:
        states: At least one.
        name: What the name of each rule begins with; its number follows.
    """
    rules = {}
    for number, state in enumerate(states):
        ways = [f"{_character(ranges)} {name}{following}" for ranges, following in state.ways]
        rules[f"{name}{number}"] = " | ".join([*ways, *(['""'] if state.may_end else [])])
    return rules


def repeated_character(character: str, block: str, least: int, most: int | None) -> str:
    """So many characters, in blocks: nobody need try where one ends, but whether the last is whole.

    Args:
        character: An expression for one.
        block: One for `BLOCK` of them.
        least: How many at least.
        most: At most; None for any number.
    """
    blocks, rest = divmod(least, BLOCK)
    text = f"{block}{{{blocks}}} {character}{{{rest}}}"
    if most is None:
        return f"{text} {character}*"
    blocks, rest = divmod(most - least, BLOCK)
    if not blocks:
        return f"{text} {character}{{0,{rest}}}"
    some = f"{block}{{0,{blocks - 1}}} {character}{{0,{BLOCK - 1}}}"
    return f"{text} ({some} | {block}{{{blocks}}} {character}{{0,{rest}}})"


def _character(ranges: tuple[tuple[int, int], ...]) -> str:
    plain, escaped = list(ranges), []
    for sign, literal in _ESCAPED.items():
        code = ord(sign)
        parts = [each for low, high in plain for each in ((low, min(high, code - 1)), (max(low, code + 1), high))]
        if any(low <= code <= high for low, high in plain):
            escaped.append(literal)
            plain = list(dict.fromkeys((low, high) for low, high in parts if low <= high))
    spelled = "".join(f"\\U{low:08x}" + (f"-\\U{high:08x}" if high > low else "") for low, high in plain)
    options = [*([f"[{spelled}]"] if spelled else []), *escaped]
    return options[0] if len(options) == 1 and len(plain) <= _RANGES_TO_REPEAT else f"({' | '.join(options)})"
