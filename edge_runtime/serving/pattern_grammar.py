"""Rule: the GBNF of texts of a pattern, for `serving.grammar`: as they stand in JSON, without the quotes.

Which patterns there are is `loragen.contract.text_pattern`.
"""

from loragen.contract.text_pattern import Characters, InOrder, OneOf, Part, Repeated

_ESCAPED = {'"': r'"\\\""', "\\": r'"\\\\"'}
"""Literals of what JSON escapes."""


def texts_of(part: Part) -> str:
    """An expression for the texts of a part."""
    match part:
        case Characters(ranges):
            return _character(ranges)
        case InOrder(parts):
            return f"({' '.join(map(texts_of, parts))})" if parts else '""'
        case OneOf(parts):
            return f"({' | '.join(map(texts_of, parts))})"
        case Repeated(each, least, most):
            return f"{texts_of(each)}{{{least},{'' if most is None else most}}}" if most != 0 else '""'


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
    return options[0] if len(options) == 1 else f"({' | '.join(options)})"
