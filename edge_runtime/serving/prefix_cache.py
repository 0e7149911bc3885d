"""Rule: which part of a prompt is in the context already, and where a new prompt goes.

llama.cpp computes a token with other instructions in a batch of another size, and the last bits differ. In a logit of
SmolLM2 the difference is up to 0.6, enough for another answer at temperature 0. So prompts are always cut at the same
places, and only whole chunks are used again: the same prompt gives the same logits, no matter what is cached. Chunks
begin anew where the system message of a chat ends, so that all of it is used again by the next chat.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

CHUNK, LATER_CHUNK = 32, 48
"""Tokens of a prompt in one batch, as far as `LATER_FROM` and from there on.

Small chunks leave less to be computed again and hold up others for less time: a short prompt beside a long one has its
first token after 2.0 times its time alone with later chunks of 32, 2.5 of 48, and 2.8 to 3.2 of 64. They are slower:
up to a seventh from 64 to 32 with AVX2, nothing with AVX-512 (SmolLM2 at Q4_1, `python -m benchmarks.shared_slot`)."""

LATER_FROM = 288  # a multiple of both


@dataclass(slots=True, eq=False)
class CachedSequence:
    """The part of the context that one sequence has.

    Attributes:
        number: llama.cpp's number of the sequence.
        tokens: What is in it.
        reusable: How many of the first ones are whole chunks of a prompt.
        beginning: Where the chunks of that prompt began anew; 0 for nowhere.
        is_busy: A request has it.
        used: When it was taken last; later is more.
    """

    number: int
    tokens: list[int] = field(default_factory=list)
    reusable: int = 0
    beginning: int = 0
    is_busy: bool = False
    used: int = 0


def chunk(tokens: Sequence[int], start: int, beginning: int = 0) -> list[int]:
    """The tokens of the chunk that begins at `start`; chunks begin anew at `beginning`."""
    if start < beginning:
        return list(tokens[start : min(start + _size(start), beginning)])
    return list(tokens[start : start + _size(start - beginning)])


def whole_chunks(count: int, beginning: int = 0) -> int:
    """How many of the first `count` tokens of a prompt are in whole chunks."""
    origin = beginning if count >= beginning else 0
    return count - (count - origin) % _size(count - origin)


def reusable_tokens(place: CachedSequence, prompt: Sequence[int], beginning: int = 0) -> int:
    """How many of the first tokens of `prompt` can be taken from a place; the last one is always computed."""
    common = 0
    for cached, wanted in zip(place.tokens[: place.reusable], prompt[:-1], strict=False):
        if cached != wanted:
            break
        common += 1
    if place.beginning == beginning:
        return whole_chunks(common, beginning)
    # Both are cut alike as far as the first place where one of them begins anew.
    return whole_chunks(min(common, place.beginning or common, beginning or common))


def best_source(
    places: Iterable[CachedSequence], prompt: Sequence[int], beginning: int, more_than: int
) -> tuple[CachedSequence | None, int]:
    """The place with the longest beginning of `prompt`, and its length; none that is not longer than `more_than`."""
    best, longest = None, more_than
    for place in places:
        # The cheap check comes first: a place with too few tokens need not be compared.
        if place.reusable > longest and (count := reusable_tokens(place, prompt, beginning)) > longest:
            best, longest = place, count
    return best, longest


def choose_place(places: Iterable[CachedSequence], prompt: Sequence[int], beginning: int = 0) -> CachedSequence:
    """The idle place that a new prompt takes; there must be one.

    One whose content it begins with, all of it, goes on growing. Any other would lose what it has: then it is the one
    that was used least recently, and what it can use of others is copied to it.
    """
    idle = [place for place in places if not place.is_busy]
    source, length = best_source(idle, prompt, beginning, more_than=0)
    if source is not None and length == source.reusable:
        return source
    return min(idle, key=lambda place: place.used)


def _size(start: int) -> int:
    return CHUNK if start < LATER_FROM else LATER_CHUNK
