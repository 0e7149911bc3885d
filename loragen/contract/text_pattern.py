"""The patterns of texts that an answer contract may hold: regular expressions that are regular, in a bounded size.

Taken are literals, classes, groups, alternatives and counts, with anchors at the ends of a whole alternative alone. One
without an anchor allows any characters there, as JSON Schema has it. A pattern that is one alternative may look ahead
from its beginning. Other look-around, back references, word boundaries and flags are refused by name, and so is what
some readers take otherwise than ECMAScript. Control characters are left out of every class: no device writes them.

`edge_runtime.serving.pattern_grammar` makes a grammar of what is parsed here, `text_automaton` compares texts with it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias

from loragen.contract.errors import FormatError, LimitError
from loragen.contract.limits import MAX_PATTERN_CHARACTERS, MAX_PATTERN_PARTS, MAX_SCHEMA_DEPTH, MAX_SCHEMA_REPEATS


@dataclass(frozen=True, slots=True)
class Characters:
    """One character of a set: ranges of code points, both ends included, in order."""

    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class InOrder:
    """Parts one after the other."""

    parts: "tuple[Part, ...]"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some parts."""

    parts: "tuple[Part, ...]"


@dataclass(frozen=True, slots=True)
class Repeated:
    """A part so many times; `most` is None for any number."""

    part: "Part"
    least: int
    most: int | None


Part: TypeAlias = Characters | InOrder | OneOf | Repeated


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern: what its texts are made of, and what else holds for all of them.

    Attributes:
        part: What each text is made of.
        ahead: Each text is made of these, too.
        not_ahead: No text is made of any of these.
    """

    part: Part
    ahead: tuple[Part, ...] = ()
    not_ahead: tuple[Part, ...] = ()


MOST_SPELLED = 512
"""Of a long text's bounds: a grammar spells them as so many blocks and a rest."""

WRITABLE = ((0x20, 0x7E), (0x80, 0xD7FF), (0xE000, 0x10FFFF))
_DIGITS = ((0x30, 0x39),)
_WORD = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_BLANK = ((0x20, 0x20),)
_WHITE = (
    (0x09, 0x0D),
    (0x20, 0x20),
    (0xA0, 0xA0),
    (0x1680, 0x1680),
    (0x2000, 0x200A),
    (0x2028, 0x2029),
    (0x202F, 0x202F),
    (0x205F, 0x205F),
    (0x3000, 0x3000),
    (0xFEFF, 0xFEFF),
)
"""White space of ECMAScript. Of it a device writes the space alone, but none of it where none may be."""

_LINE_ENDS = ((0x0A, 0x0A), (0x0D, 0x0D), (0x2028, 0x2029))
_CONTROL = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_ANY_NUMBER = Repeated(Characters(WRITABLE), 0, None)
_COUNT = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")
_SET = re.compile(r"\\[dDsSwW]")
_GROUP = re.compile(r"\?(?::|P?<[A-Za-z_]\w*>)")
_CODE = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})")


def parse_pattern(pattern: str, most_parts: int = MAX_PATTERN_PARTS) -> Pattern:
    """What texts of a pattern are made of.

    Args:
        pattern: As JSON Schema has it.
        most_parts: What it may be made of.

    Raises:
        FormatError: It is no such pattern.
        LimitError: It is too large.
    """
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise LimitError(f"expected at most {MAX_PATTERN_CHARACTERS} characters")
    reader = _Reader(pattern)
    part = reader.alternatives(0)
    if reader.at < len(pattern):
        raise FormatError("expected a '(' for each ')'")
    if reader.looks_ahead and isinstance(part, OneOf):
        raise FormatError("look-ahead in a pattern with alternatives is not supported; write them as a group")
    if sum(map(parts_of, (part, *reader.ahead, *reader.not_ahead))) > most_parts:
        raise LimitError(f"expected at most {most_parts} parts, with repetitions spelled")
    return Pattern(part, tuple(reader.ahead), tuple(reader.not_ahead))


class _Reader:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self.at = 0
        self.ahead: list[Part] = []
        self.not_ahead: list[Part] = []

    @property
    def looks_ahead(self) -> bool:
        return bool(self.ahead or self.not_ahead)

    def _next(self) -> str:
        return self._pattern[self.at : self.at + 1]

    def _take(self) -> str:
        sign = self._next()
        if not sign:
            raise FormatError("expected a pattern that is whole")
        self.at += 1
        return sign

    def alternatives(self, depth: int, is_ahead: bool = False) -> Part:
        if depth > MAX_SCHEMA_DEPTH:
            raise LimitError(f"expected at most {MAX_SCHEMA_DEPTH} levels")
        found = [self._row(depth, is_ahead)]
        while self._next() == "|":
            self.at += 1
            found.append(self._row(depth, is_ahead))
        return found[0] if len(found) == 1 else OneOf(tuple(dict.fromkeys(found)))

    def _row(self, depth: int, is_ahead: bool) -> Part:
        parts: list[Part] = []
        begins, ends = self._next() == "^", False
        self.at += begins
        while not depth and begins and self._look_ahead():
            pass
        while (sign := self._next()) and sign not in "|)":
            if ends or sign == "^":
                raise FormatError("expected '^' in front of an alternative, and '$' behind it, alone")
            if sign == "$":
                self.at, ends = self.at + 1, True
            else:
                parts.append(self._counted(self._part(depth)))
        if depth and (begins or ends) and not is_ahead:
            raise FormatError("expected '^' and '$' outside of groups")
        begins |= is_ahead  # it looks at what is there, and not further on
        if not (depth and not is_ahead) and (parts or begins or ends):
            parts = [*([] if begins else [_ANY_NUMBER]), *parts, *([] if ends else [_ANY_NUMBER])]
        elif not depth:
            return _ANY_NUMBER
        return parts[0] if len(parts) == 1 else InOrder(tuple(parts))

    def _look_ahead(self) -> bool:
        """Read one look-ahead, if there is one."""
        sign = self._pattern[self.at : self.at + 3]
        if sign not in ("(?=", "(?!"):
            return False
        self.at += 3
        (self.ahead if sign == "(?=" else self.not_ahead).append(self.alternatives(1, is_ahead=True))
        self._close()
        if self._is_count_sign() or _COUNT.match(self._pattern, self.at):
            raise FormatError("expected no count behind a look-ahead")
        return True

    def _close(self) -> None:
        if self._next() != ")":
            raise FormatError("expected a ')' for each '('")
        self.at += 1

    def _part(self, depth: int) -> Part:
        sign = self._take()
        if sign == "(":
            if self._next() == "?":
                group = _GROUP.match(self._pattern, self.at)
                if group is None:
                    raise FormatError(
                        "groups with '(?', such as look-around and flags, are not supported, but for look-ahead behind "
                        "the '^' at the beginning"
                    )
                self.at = group.end()
            found = self.alternatives(depth + 1)
            self._close()
            return found
        if sign == "[":
            return _characters(self._class())
        if sign == "\\":
            return _characters(self._escaped())
        if sign == ".":
            return _characters(_without(_LINE_ENDS))
        if sign in "*+?":
            raise FormatError(f"expected something in front of {sign!r}")
        return _characters(((ord(sign), ord(sign)),))

    def _counted(self, part: Part) -> Part:
        count = _COUNT.match(self._pattern, self.at)
        most: int | None
        if count:
            least = int(count[1])
            most = least if not count[2] else int(count[3]) if count[3] else None
            self.at = count.end()
        elif self._is_count_sign():
            sign = self._next()
            least, most = int(sign == "+"), 1 if sign == "?" else None
            self.at += 1
        else:
            return part
        if self._next() == "?":  # whether few or many are tried first makes no other texts
            self.at += 1
        if self._is_count_sign() or _COUNT.match(self._pattern, self.at):
            raise FormatError("expected one count behind each part")
        if max(least, most or 0) > MAX_SCHEMA_REPEATS:
            raise LimitError(f"expected at most {MAX_SCHEMA_REPEATS} repetitions, or any number")
        if most is not None and most < least:
            raise FormatError("expected counts from the least to the most")
        if most != 1 and lengths_of(part)[0] == 0:
            raise FormatError("expected no repetition of what may be empty")
        return InOrder(()) if lengths_of(part)[1] == 0 else Repeated(part, least, most)

    def _is_count_sign(self) -> bool:
        return self._next() in ("*", "+", "?")

    def _class(self) -> Sequence[tuple[int, int]]:
        is_negated = self._next() == "^"
        self.at += is_negated
        if self._next() == "]":  # some readers take it for a character, and others for the end
            raise FormatError(r"expected a class with characters, and in it '\]' for a ']'")
        ranges: list[tuple[int, int]] = []
        while self._next() != "]":
            is_character = not self._is_set()
            first = self._member(is_negated)
            if self._next() == "-" and self._pattern[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                is_character &= not self._is_set()
                last = self._member(is_negated)
                if not is_character or first[0][0] > last[0][1]:
                    raise FormatError("expected a range of characters from the first to the last")
                first = ((first[0][0], last[0][1]),)
            ranges += first
        self.at += 1
        return _without(merged_ranges(ranges)) if is_negated else ranges

    def _is_set(self) -> bool:
        return _SET.match(self._pattern, self.at) is not None

    def _member(self, is_negated: bool) -> Sequence[tuple[int, int]]:
        sign = self._take()
        return self._escaped(is_negated) if sign == "\\" else ((ord(sign), ord(sign)),)

    def _escaped(self, is_negated: bool = False) -> Sequence[tuple[int, int]]:
        if code := _CODE.match(self._pattern, self.at):
            self.at = code.end()
            number = int(code[1] or code[2], 16)
            return ((number, number),)
        sign = self._take()
        known = {"d": _DIGITS, "w": _WORD, "s": _WHITE if is_negated != (sign == "S") else _BLANK}
        if sign.lower() in known:
            return known[sign] if sign in known else _without(known[sign.lower()])
        if sign in _CONTROL:
            return ((_CONTROL[sign], _CONTROL[sign]),)
        if sign.isalnum():
            raise FormatError(f"'\\{ascii(sign)[1:-1]}' is not supported")
        return ((ord(sign), ord(sign)),)


def _characters(ranges: Iterable[tuple[int, int]]) -> Characters:
    """Those of the ranges that can be written."""
    parts = [(max(low, first), min(high, last)) for low, high in ranges for first, last in WRITABLE]
    found = merged_ranges([(low, high) for low, high in parts if low <= high])
    if not found:
        raise FormatError("expected characters that can be written: no control characters")
    return Characters(found)


def merged_ranges(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same characters in as few ranges as can be, in order."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return tuple(found)


def _without(ranges: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    edges = [(-1, -1), *ranges, (0x110000, 0x110000)]
    return [(before[1] + 1, after[0] - 1) for before, after in pairwise(edges) if before[1] + 1 < after[0]]


def parts_of(part: Part) -> int:
    """How many parts a pattern has, with repetitions spelled."""
    match part:
        case Characters():
            return 1
        case Repeated(each, least, most):
            count = max(1, least, most or 0)
            return 1 + parts_of(each) * (min(count, MOST_SPELLED) if isinstance(each, Characters) else count)
        case _:
            return 1 + sum(map(parts_of, part.parts))


def lengths_of(part: Part) -> tuple[int, int | None]:
    """Fewest and most characters; None for any number."""
    match part:
        case Characters():
            return 1, 1
        case Repeated(each, least, most):
            fewest, longest = lengths_of(each)
            return fewest * least, None if most is None or longest is None else longest * most
        case InOrder(parts):
            pairs = [lengths_of(each) for each in parts]
            longest_of = [longest for _, longest in pairs if longest is not None]
            return sum(fewest for fewest, _ in pairs), sum(longest_of) if len(longest_of) == len(pairs) else None
        case OneOf(parts):
            pairs = [lengths_of(each) for each in parts]
            longest_of = [longest for _, longest in pairs if longest is not None]
            return min(fewest for fewest, _ in pairs), max(longest_of) if len(longest_of) == len(pairs) else None


def of_length(part: Part, least: int, most: int | None) -> Part | None:
    """A part's texts of a length; None where it does not say itself how they are made.

    Args:
        part: Whose texts.
        least: Characters at least.
        most: Characters at most; None for any number.
    """
    fewest, longest = lengths_of(part)
    if least <= fewest and (most is None or (longest is not None and longest <= most)):
        return part
    parts = list(part.parts) if isinstance(part, InOrder) else [part]
    varied = [number for number, each in enumerate(parts) if len(set(lengths_of(each))) > 1]
    if len(varied) == 1 and isinstance(each := parts[varied[0]], Repeated) and isinstance(each.part, Characters):
        others = fewest - each.least
        bounds = [bound for bound in (each.most, None if most is None else most - others) if bound is not None]
        each = replace(each, least=max(each.least, least - others), most=min(bounds, default=None))
        if each.most is None or each.least <= each.most:
            parts[varied[0]] = each
            return InOrder(tuple(parts))
    return None
