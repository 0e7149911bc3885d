"""Rule: the GBNF of the decimals between two bounds, for `serving.grammar`.

Zeros at the end, and a point before nothing, may be left out. Which range a schema means is
`loragen.contract.number_bounds`.
"""

from loragen.contract.number_bounds import WrittenRange


def decimals_between(written: WrittenRange) -> str:
    """An expression for the decimals of a range; a number below zero has a minus in front.

    Args:
        written: At least one number.
    """
    parts = []
    if written.high >= 0:
        parts += _of_each_size(max(written.low, 0), written.high, written.decimals)
    if written.low < 0:
        below = _of_each_size(max(-written.high, 1), -written.low, written.decimals)
        parts.append(f'"-" ({" | ".join(below)})')
    return " | ".join(parts)


def _of_each_size(low: int, high: int, decimals: int) -> list[str]:
    """Expressions for numbers from 0 on, for each count of digits in front of the point."""
    found = []
    for digits in range(1, max(len(str(high)) - decimals, 1) + 1):
        size = digits + decimals
        first, last = max(low, 10 ** (size - 1) if digits > 1 else 0), min(high, 10**size - 1)
        if first <= last:
            found.append(_between(f"{first:0{size}}", f"{last:0{size}}", decimals))
    return found


def _between(low: str, high: str, decimals: int) -> str:
    """An expression for the digits between two of one length, of which the last `decimals` are behind the point."""
    left = len(low)
    if not left:
        return ""
    may_end = left <= decimals and not low.strip("0")
    any_digits = not low.strip("0") and not high.strip("9")
    if any_digits and left <= decimals:
        body = f"[0-9]{{1,{left}}}"
    elif any_digits:
        body = f"[0-9]{{{left - decimals}}} {_between(low[left - decimals :], high[left - decimals :], decimals)}"
    elif low[0] == high[0]:
        body = f'"{low[0]}" {_between(low[1:], high[1:], decimals)}'
    else:
        rest = left - 1
        parts = [f'"{low[0]}" {_between(low[1:], "9" * rest, decimals)}']
        if int(high[0]) - int(low[0]) > 1:
            parts.append(f"[{int(low[0]) + 1}-{int(high[0]) - 1}] {_between('0' * rest, '9' * rest, decimals)}")
        parts.append(f'"{high[0]}" {_between("0" * rest, high[1:], decimals)}')
        body = f"({' | '.join(parts)})"
    if left == decimals:
        body = f'"." {body}'
    return f"({body})?" if may_end else body
