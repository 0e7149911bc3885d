"""Which examples are held out follows from their texts, and what the generator read is never among them."""

import random

from cloud_service.refine.held_out import MOST_HELD_OUT, distinct, folds, hold_out
from cloud_service.task import Example

EXAMPLES = [Example(f"input {number}", f"output {number % 3}") for number in range(40)]


def short(number: int) -> int:
    return 10


def test_repetitions_count_once_and_contradictions_stay() -> None:
    a, b = Example("x", "1"), Example("x", "2")
    assert distinct([a, b, a, b, a]) == (a, b)


def test_a_quarter_is_held_out_and_what_was_shown_is_not() -> None:
    held = hold_out(EXAMPLES, 4, short)
    assert len(held) == 10
    assert min(held) >= 4
    assert len(hold_out(EXAMPLES[:4], 1, short)) == 1
    assert len(hold_out(EXAMPLES[:6], 1, short)) == 2
    many = [Example(str(number), "") for number in range(512)]
    assert len(hold_out(many, 4, short)) == MOST_HELD_OUT


def test_equal_examples_in_another_order_are_held_out_alike() -> None:
    shuffled = EXAMPLES[:4] + random.Random(0).sample(EXAMPLES[4:], 36)
    held = {EXAMPLES[number] for number in hold_out(EXAMPLES, 4, short)}
    assert {shuffled[number] for number in hold_out(shuffled, 4, short)} == held
    parts = {frozenset(EXAMPLES[n] for n in part) for part in folds(EXAMPLES, 4, 5)}
    assert {frozenset(shuffled[n] for n in part) for part in folds(shuffled, 4, 5)} == parts


def test_equal_inputs_stay_on_one_side() -> None:
    examples = [Example(each.input, answer) for each in EXAMPLES for answer in ("yes", "no")]
    for held in (hold_out(examples, 0, short), *folds(examples, 0, 5)):
        inputs = {examples[number].input for number in held}
        assert sorted(held) == [number for number, each in enumerate(examples) if each.input in inputs]
    assert not {examples[n].input for n in hold_out(examples, 1, short)} & {examples[0].input}


def test_long_examples_are_fewer() -> None:
    assert len(hold_out(EXAMPLES, 0, lambda _: 1000)) == 4
    assert len(hold_out(EXAMPLES, 0, lambda _: 9000)) == 1


def test_parts_are_no_more_than_there_are_inputs() -> None:
    assert [len(part) for part in folds(EXAMPLES[:4], 1, 5)] == [1, 1, 1]


def test_folds_hold_out_each_choice_in_turn() -> None:
    parts = folds(EXAMPLES, 4, 5)
    assert sorted(number for part in parts for number in part) == list(range(4, 40))
    assert all(len({EXAMPLES[number].output for number in part}) == 3 for part in parts)
