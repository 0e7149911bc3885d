"""Rule: which of a request's labelled examples are held out, to see whether a refinement is worth keeping.

The choice follows from the texts alone, so that equal requests hold out the same. Examples of equal inputs stay on one
side, and those that the generator has read are never held out: their answers are known to it.
"""

from collections.abc import Callable, Sequence

from cloud_service.task import Example
from loragen.contract.digest import sha256_hex

MOST_HELD_OUT = 64
"""More of them would cost more time than they tell."""

MOST_HELD_OUT_TOKENS = 4_096
"""All of them together: some seconds on two cores, each time that they are scored."""


def distinct(examples: Sequence[Example]) -> tuple[Example, ...]:
    """The examples without repetitions, in their order."""
    return tuple(dict.fromkeys(examples))


def hold_out(examples: Sequence[Example], shown: int, tokens: Callable[[int], int]) -> list[int]:
    """Numbers of a quarter of the examples: at least one, and of more than four at least two.

    Args:
        examples: All of them.
        shown: How many of the first the generator has read.
        tokens: The length of an example, by its number.
    """
    wanted = min(max(1 + (len(examples) > 4), len(examples) // 4), MOST_HELD_OUT)
    held: list[int] = []
    for group in _groups(examples, shown):
        if len(held) < wanted and (not held or sum(map(tokens, (*held, *group))) <= MOST_HELD_OUT_TOKENS):
            held += group
    return sorted(held)


def folds(examples: Sequence[Example], shown: int, count: int) -> list[list[int]]:
    """Numbers of the examples in parts that are held out in turn; each output is spread over the parts."""
    groups = sorted(_groups(examples, shown), key=lambda group: examples[group[0]].output)
    parts: list[list[int]] = [[] for _ in range(min(count, len(groups)))]
    for place, group in enumerate(groups):
        parts[place % len(parts)] += group
    return [sorted(part) for part in parts]


def _groups(examples: Sequence[Example], shown: int) -> list[list[int]]:
    """Numbers of examples by their input, without the inputs that were shown; in an order that texts alone decide."""
    read = {example.input for example in examples[:shown]}
    by_input: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        if example.input not in read:
            by_input.setdefault(example.input, []).append(number)
    return [by_input[text] for text in sorted(by_input, key=lambda text: sha256_hex(text.encode()))]
