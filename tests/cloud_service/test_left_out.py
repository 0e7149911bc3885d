"""Examples are left out in turn, of all that the generator reads, and equal inputs together."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from cloud_service.errors import InvalidRequestError
from cloud_service.generation import Asked
from cloud_service.left_out import leave_each_out
from cloud_service.limits import MAX_LEFT_OUT
from cloud_service.task import Example, TaskDescription
from loragen.contract.answer import AnswerContract, Function

A, B, C = Example("a", "1"), Example("b", "2"), Example("c", "3")


def test_each_example_is_left_out_of_the_prompt_and_knows_its_place() -> None:
    left_out = leave_each_out(TaskDescription("Count.", (A, B, C)), has_codes=True)
    assert [dict(each.examples) for each in left_out] == [{"examples.0": A}, {"examples.1": B}, {"examples.2": C}]
    assert [each.task.examples for each in left_out] == [(B, C), (A, C), (A, B)]
    for each, text in zip(left_out, ("Input: a", "Input: b", "Input: c"), strict=True):
        assert text not in Asked.of(each.task).prompt


def test_equal_inputs_are_left_out_together_each_output_once() -> None:
    task = TaskDescription("Count.", (A, B, Example(" a\n", "1"), Example("a", "one")))
    first, second = leave_each_out(task, has_codes=True)
    assert (first.task.examples, first.examples) == ((B,), {"examples.0": A, "examples.3": Example("a", "one")})
    assert second.examples == {"examples.1": B}


@pytest.mark.parametrize("examples", [(), (A,), (A, A, Example("a ", "2"))])
def test_fewer_than_two_inputs_are_refused_by_field(examples: tuple[Example, ...]) -> None:
    with pytest.raises(InvalidRequestError, match=r"^examples: expected at least 2 different inputs") as refused:
        leave_each_out(TaskDescription("Count.", examples), has_codes=True)
    assert refused.value.code == "too_few_examples"


def test_of_many_examples_some_are_left_out_spread_over_all() -> None:
    examples = tuple(Example(f"input {number}", "x") for number in range(20))
    left_out = leave_each_out(TaskDescription("Say x.", examples), has_codes=True)
    places = [int(place.removeprefix("examples.")) for each in left_out for place in each.examples]
    assert places == [0, 2, 5, 7, 10, 12, 15, 17]
    assert len(places) == MAX_LEFT_OUT
    assert all(len(each.task.examples) == 19 for each in left_out)


def test_set_that_examples_alone_make_stays_closed_without_one_of_them() -> None:
    examples = tuple(Example(f"{label} {number}", label) for label in ("ham", "spam") for number in range(3))
    for each in leave_each_out(TaskDescription("Sort.", examples), has_codes=True):
        asked = Asked.of(each.task)
        assert asked.answer == AnswerContract("choice", ("ham", "spam"))
        assert sorted(len(choice.examples) for choice in asked.choices) == [2, 3]


@pytest.mark.parametrize(
    ("outputs", "kind"),
    [(("formal", "casual", "formal"), "choice"), ([f'{{"name": "N{n}", "age": {n}}}' for n in range(3)], "json")],
)
def test_contract_that_three_examples_alone_make_stays_without_one_of_them(outputs: Sequence[str], kind: str) -> None:
    examples = tuple(Example(f"some words, {number}", output) for number, output in enumerate(outputs))
    task = TaskDescription("Judge it.", examples)
    whole = Asked.of(task).answer
    assert whole.kind == kind
    assert [Asked.of(each.task).answer for each in leave_each_out(task, has_codes=True)] == [whole] * 3


def test_call_is_expected_by_its_function_where_functions_have_codes() -> None:
    functions = (Function("play"), Function("wake"))
    calls = tuple(Example(f"do {each.name}", f'{{"name":"{each.name}","arguments":{{}}}}') for each in functions)
    contract = AnswerContract("tool_calls", functions=functions)
    task = TaskDescription("Call.", calls, answer=contract)
    expected = [[example.output for example in each.examples.values()] for each in leave_each_out(task, has_codes=True)]
    assert expected == [["play"], ["wake"]]
    whole = [[example.output for example in each.examples.values()] for each in leave_each_out(task, has_codes=False)]
    assert whole == [[call.output] for call in calls]
    both = Example("do both", "\n".join(call.output for call in reversed(calls)))
    several = replace(task, answer=replace(contract, parallel=True), examples=(both, calls[0]))
    first, second = (dict(each.examples) for each in leave_each_out(several, has_codes=True))
    assert (first["examples.0"].output, second["examples.1"].output) == ("wake", "play")
    with pytest.raises(InvalidRequestError, match=r"^examples\.2\.output: expected one of the 2 choices") as refused:
        leave_each_out(replace(task, examples=(*calls, A)), has_codes=True)
    assert refused.value.code == "example_not_a_choice"
