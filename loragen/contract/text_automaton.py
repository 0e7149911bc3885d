"""Rule: which texts are of a pattern, and what texts are of several at once, in a bounded time.

A pattern becomes Glushkov's automaton: one place for each character that it spells, and one for the beginning. A set of
places is an integer with a bit for each. Reading a character leads from a set of places to another, and all such steps
are taken once in front: then a text is read once, whatever the pattern, and a pattern that takes too many steps is
refused before any text comes. `loragen.contract.text_pattern` says what a pattern is made of.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from loragen.contract.errors import LimitError
from loragen.contract.limits import MAX_TEXT_STATES, MAX_TEXT_STEPS
from loragen.contract.text_pattern import WRITABLE, Characters, InOrder, OneOf, Part, Repeated, merged_ranges

Ranges = tuple[tuple[int, int], ...]

_EDGES = frozenset((0x20, 0x7F, 0x80, 0xD800, 0xE000, 0x110000))
"""Of the characters that a device writes."""


@dataclass(frozen=True, slots=True)
class TextState:
    """What may follow somewhere inside of a text.

    Attributes:
        may_end: Nothing.
        ways: Ranges of characters, and the number of the state behind each of them.
    """

    may_end: bool
    ways: tuple[tuple[Ranges, int], ...]


class Automaton:
    """The texts of a part.

    Args:
        part: What they are made of.

    Raises:
        LimitError: It takes more than `MAX_TEXT_STEPS` steps to tell its texts apart.
    """

    def __init__(self, part: Part) -> None:
        self._ranges: list[Ranges] = [()]  # of each place; that of the beginning has none
        self._following: list[int] = [0]  # the places behind each, whatever the character
        first, last, is_empty = self._places(part)
        self._following[0] = first
        self._ends = last | is_empty
        self._edges = sorted(
            _EDGES.union(edge for some in self._ranges for low, high in some for edge in (low, high + 1))
        )
        masks = [self._mask(edge) for edge in self._edges]
        self._kinds = {mask: number for number, mask in enumerate(dict.fromkeys(masks))}
        self._kind_of = [self._kinds[mask] for mask in masks]
        self._steps = self._all_steps()

    @property
    def steps(self) -> int:
        """How many steps there are, from a set of places with a kind of character."""
        return len(self._steps) * len(self._kinds)

    @property
    def edges(self) -> Sequence[int]:
        """Characters at which sets of characters begin or end, in order: all between two of them are alike."""
        return self._edges

    def kind_of(self, character: int) -> int:
        """A number that all characters share that lead to the same places."""
        at = bisect_right(self._edges, character) - 1
        return self._kind_of[at] if at >= 0 else self._kinds.get(0, -1)

    def after(self, places: int, kind: int) -> int:
        """The places behind a kind of character; 1 is the beginning, 0 is none."""
        return self._steps[places][kind] if places and kind >= 0 else 0

    def is_end(self, places: int) -> bool:
        """Whether a text may end there."""
        return bool(places & self._ends)

    def takes(self, text: str) -> bool:
        """Whether a text is one of the part's."""
        places = 1
        for character in text:
            places = self.after(places, self.kind_of(ord(character)))
            if not places:
                return False
        return self.is_end(places)

    def _all_steps(self) -> dict[int, list[int]]:
        steps, waiting = dict[int, list[int]](), [1]
        for places in waiting:  # grows on the way
            if not places or places in steps:
                continue
            if len(steps) * len(self._kinds) >= MAX_TEXT_STEPS:
                raise LimitError(f"expected texts that are told apart in at most {MAX_TEXT_STEPS} steps")
            reached = 0
            for place in _bits(places):
                reached |= self._following[place]
            steps[places] = [reached & mask for mask in self._kinds]
            waiting += steps[places]
        return steps

    def _mask(self, character: int) -> int:
        """The places that a character leads to."""
        return sum(
            1 << place
            for place, ranges in enumerate(self._ranges)
            if any(low <= character <= high for low, high in ranges)
        )

    def _link(self, before: int, behind: int) -> None:
        for place in _bits(before):
            self._following[place] |= behind

    def _places(self, part: Part) -> tuple[int, int, bool]:
        """First and last places of a part's texts, and whether the empty text is one of them."""
        match part:
            case Characters(ranges):
                self._ranges.append(ranges)
                self._following.append(0)
                place = 1 << (len(self._ranges) - 1)
                return place, place, False
            case InOrder(parts):
                return self._in_order([self._places(each) for each in parts])
            case OneOf(parts):
                found = [self._places(each) for each in parts]
                first = last = 0
                for begins, ends, _ in found:
                    first, last = first | begins, last | ends
                return first, last, any(is_empty for *_, is_empty in found)
            case Repeated(each, least, most):
                return self._repeated([self._places(each) for _ in range(max(least, most or 1))], least, most)

    def _in_order(self, found: Sequence[tuple[int, int, bool]]) -> tuple[int, int, bool]:
        first, last, is_empty = 0, 0, True
        for begins, ends, may_miss in found:
            self._link(last, begins)
            first |= begins if is_empty else 0
            last = ends | (last if may_miss else 0)
            is_empty = is_empty and may_miss
        return first, last, is_empty

    def _repeated(self, found: Sequence[tuple[int, int, bool]], least: int, most: int | None) -> tuple[int, int, bool]:
        if most == 0:
            return 0, 0, True
        # Each repetition follows the one before it, and the text may end behind those that are enough.
        for (_, ends, _), (begins, *_) in pairwise(found):
            self._link(ends, begins)
        if most is None:
            self._link(found[-1][1], found[-1][0])
        if found[0][2]:  # what may be empty is repeated once at most
            return found[0]
        last = 0
        for _, ends, _ in found[max(least, 1) - 1 :]:
            last |= ends
        return found[0][0], last, least == 0


def _bits(places: int) -> Iterator[int]:
    while places:
        lowest = places & -places
        yield lowest.bit_length() - 1
        places ^= lowest


@lru_cache(maxsize=64)
def automaton_of(part: Part) -> Automaton:
    """The automaton of a part, made once.

    Raises:
        LimitError: As for `Automaton`.
    """
    return Automaton(part)


def states_of(needed: Sequence[Part], forbidden: Sequence[Part], least: int, most: int | None) -> tuple[TextState, ...]:
    """All texts that are of some parts, of none of others, and of a length; the first state is their beginning.

    Args:
        needed: At least one.
        forbidden: Of none of these.
        least: Characters at least.
        most: Characters at most; None for any number.

    Returns:
        Empty where there is no such text.

    Raises:
        LimitError: They take more than `MAX_TEXT_STATES` states.
    """
    automata = [automaton_of(part) for part in (*needed, *forbidden)]
    kinds = _kinds(automata)
    begin = (*(1 for _ in automata), 0)
    numbers, waiting, ways = {begin: 0}, [begin], list[list[tuple[Ranges, int]]]()
    for state in waiting:  # grows on the way
        *places, length = state
        found: list[tuple[Ranges, int]] = []
        ways.append(found)
        if length == most:
            continue
        longer = length + 1 if most is not None or length < least else length
        for kind, ranges in kinds.items():
            after = tuple(each.after(at, of) for each, at, of in zip(automata, places, kind, strict=True))
            if not all(after[: len(needed)]):
                continue
            following = (*after, longer)
            if following not in numbers:
                if len(numbers) >= MAX_TEXT_STATES:
                    raise LimitError(f"expected texts that are told apart by at most {MAX_TEXT_STATES} states")
                numbers[following] = len(waiting)
                waiting.append(following)
            found.append((ranges, numbers[following]))
    ends = [
        length >= least
        and all(each.is_end(at) for each, at in zip(automata[: len(needed)], places, strict=False))
        and not any(each.is_end(at) for each, at in zip(automata[len(needed) :], places[len(needed) :], strict=True))
        for *places, length in waiting
    ]
    return _that_end(ends, ways)


def _that_end(ends: Sequence[bool], ways: Sequence[Sequence[tuple[Ranges, int]]]) -> tuple[TextState, ...]:
    """The states from which a text can come to its end, numbered anew."""
    before: list[list[int]] = [[] for _ in ends]
    for state, found in enumerate(ways):
        for _, following in found:
            before[following].append(state)
    alive, waiting = set[int](), [state for state, may_end in enumerate(ends) if may_end]
    while waiting:
        state = waiting.pop()
        if state not in alive:
            alive.add(state)
            waiting += before[state]
    if 0 not in alive:
        return ()
    number_of = {state: number for number, state in enumerate(sorted(alive))}
    states = []
    for state in number_of:
        merged: dict[int, list[tuple[int, int]]] = {}
        for ranges, following in ways[state]:
            if following in alive:
                merged.setdefault(number_of[following], []).extend(ranges)
        states.append(TextState(ends[state], tuple((merged_ranges(ranges), to) for to, ranges in merged.items())))
    return tuple(states)


def _kinds(automata: Sequence[Automaton]) -> dict[tuple[int, ...], Ranges]:
    """The characters that a device writes, by their kind for each automaton."""
    edges = sorted({edge for each in automata for edge in each.edges})
    alike: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for low, following in pairwise(edges):
        if any(first <= low <= last for first, last in WRITABLE):
            alike.setdefault(tuple(each.kind_of(low) for each in automata), []).append((low, following - 1))
    return {kind: merged_ranges(ranges) for kind, ranges in alike.items()}
