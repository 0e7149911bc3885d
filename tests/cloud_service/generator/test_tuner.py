"""Refinement through a tiny edge model: what is returned answers held-out examples better, or is what came in."""

import threading
from dataclasses import replace

import pytest
import torch

from cloud_service.errors import InvalidRequestError
from cloud_service.generator import TorchGenerator
from cloud_service.generator.chat_format import answer_ids
from cloud_service.generator.gate_tuning import OpenTask
from cloud_service.generator.tuner import TorchTuner
from cloud_service.refinement import ExampleScore, RefinementOutcome, RefinePlan
from cloud_service.task import Example, TaskDescription, residual_texts
from loragen.contract.answer import AnswerContract, contract_of
from loragen.contract.recipe import encode_recipe
from tests.cloud_service.generator.tiny import tokenizer
from tests.cloud_service.generator.tuning import CHOICE, CHOSEN, PLAN, WRITTEN, ignore, one_pass


def test_equal_requests_give_equal_bits(loaded: TorchGenerator, tuner: TorchTuner) -> None:
    for task, examples in (
        (TaskDescription("When?", answer=CHOICE), CHOSEN),
        (TaskDescription("Say it."), tuple(WRITTEN)),
    ):
        recipe = one_pass(loaded, task)
        first, second = (tuner.refine(recipe, examples, 1, PLAN, ignore)[0] for _ in range(2))
        assert encode_recipe(first) == encode_recipe(second) != encode_recipe(recipe)


def test_examples_that_teach_nothing_leave_the_recipe_as_it_is(loaded: TorchGenerator, tuner: TorchTuner) -> None:
    """Each input is alike, and the labels say the same as often as not."""
    recipe = one_pass(loaded, TaskDescription("When?", answer=CHOICE))
    noise = [Example(f"{'a' * number}", CHOICE.choices[number * number % 3]) for number in range(1, 9)]
    refined, report = tuner.refine(recipe, noise, 1, PLAN, ignore)
    assert not report.before.is_better_than(report.after)
    assert report.kept == report.after.is_better_than(report.before)
    assert report.kept or refined is recipe


@pytest.mark.parametrize(("description", "answer"), [("When?", CHOICE), ("Say it.", None)])
def test_no_time_gives_the_one_pass_recipe(
    loaded: TorchGenerator, tuner: TorchTuner, description: str, answer: AnswerContract | None
) -> None:
    recipe = one_pass(loaded, TaskDescription(description, answer=answer))
    examples = CHOSEN if answer else WRITTEN
    refined, report = tuner.refine(recipe, examples, 1, RefinePlan(20, 0.0), ignore)
    assert refined is recipe
    assert (report.kept, report.stopped, report.steps) == (False, "budget", 0)
    assert report.after == report.before


def test_progress_may_end_the_work(loaded: TorchGenerator, tuner: TorchTuner) -> None:
    class EnoughError(Exception):
        pass

    seen: list[tuple[int, int]] = []

    def stop_soon(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 3:
            raise EnoughError

    for task, examples in ((TaskDescription("When?", answer=CHOICE), CHOSEN), (TaskDescription("Say it."), WRITTEN)):
        with pytest.raises(EnoughError):
            tuner.refine(one_pass(loaded, task), examples, 1, PLAN, stop_soon)
        assert seen[-1][0] == 3
        # Whatever was applied is gone, and the next one works.
        assert tuner.refine(one_pass(loaded, task), examples, 1, RefinePlan(1, 60), ignore)[1].examples == len(examples)


def tuned_tasks(monkeypatch: pytest.MonkeyPatch) -> list[OpenTask]:
    """Every task whose gates are to be tuned from now on; nothing is tuned."""
    seen: list[OpenTask] = []

    def keep(task: OpenTask, *_: object) -> tuple[object, RefinementOutcome]:
        seen.append(task)
        score = ExampleScore(0, 0)
        return task.gates, RefinementOutcome("gates", False, 5, 1, score, score, 0, 0, "steps")

    monkeypatch.setattr("cloud_service.generator.tuner.tune_gates", keep)
    return seen


def test_example_in_the_residual_prompt_is_not_tuned_on(
    loaded: TorchGenerator, tuner: TorchTuner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer could be copied from there; unless there is no other."""
    seen, examples = tuned_tasks(monkeypatch), [Example(f"word {n}", f"{n}") for n in range(8)]
    task = TaskDescription("Say it.", tuple(examples[:2]))
    recipe = replace(one_pass(loaded, task), residual_prompt=residual_texts(task)[0], residual_prompt_tokens=30)
    tuner.refine(recipe, examples, 2, PLAN, ignore)
    tuner.refine(replace(recipe, residual_prompt="Say it.", residual_prompt_tokens=2), examples, 2, PLAN, ignore)
    tuner.refine(recipe, [*examples[:2], examples[5]], 2, PLAN, ignore)
    assert [len(task.trained) for task in seen] == [4, 6, 2]
    assert [len(task.held_out) for task in seen] == [2, 2, 1]
    answers = {tuple(ids) for _, ids in seen[0].trained}
    assert answers.isdisjoint({tuple(answer_ids(tokenizer(), each.output)) for each in examples[:2]})


def test_calls_are_tuned_on_as_a_device_asks_for_them(
    loaded: TorchGenerator, tuner: TorchTuner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every parameter, in the order of the schema; what the example does not give is null."""
    parameters = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    answer = contract_of({"type": "tool_calls", "functions": [{"name": "f", "parameters": parameters}]})
    seen = tuned_tasks(monkeypatch)
    examples = [Example(f"{n}", '{"name":"f","arguments":{"b":"x"}}') for n in range(5)]
    tuner.refine(one_pass(loaded, TaskDescription("Call.", answer=answer)), examples, 1, PLAN, ignore)
    expected = answer_ids(tokenizer(), '{"name": "f", "arguments": {"a": null, "b": "x"}}')
    assert {tuple(ids) for _, ids in (*seen[0].trained, *seen[0].held_out)} == {tuple(expected)}


def test_held_out_examples_are_scored_as_a_device_answers_them(loaded: TorchGenerator, tuner: TorchTuner) -> None:
    """A model that writes something else is right all the same where the contract leaves it nothing else to write."""
    value = {"type": "object", "properties": {"way": {"enum": ["there"]}}, "required": ["way"]}
    answer = contract_of({"type": "json", "schema": value})
    examples = [Example(f"go {n}", '{"way":"there"}') for n in range(5)]
    recipe = one_pass(loaded, TaskDescription("Where?", answer=answer))
    assert tuner.refine(recipe, examples, 1, RefinePlan(1, 60), ignore)[1].before.right == 1.0
    free = one_pass(loaded, TaskDescription("Where?", answer=contract_of({"type": "text"})))
    assert tuner.refine(free, examples, 1, RefinePlan(1, 60), ignore)[1].before.right == 0.0


@pytest.mark.parametrize("answer", [CHOICE, None])
def test_example_that_does_not_fit_is_refused(
    loaded: TorchGenerator, tuner: TorchTuner, answer: AnswerContract | None
) -> None:
    recipe = one_pass(loaded, TaskDescription("When?", answer=answer))
    examples = [*CHOSEN[:5], Example("x" * 300, "now")]
    with pytest.raises(InvalidRequestError, match=r"examples\.5: expected at most 256 tokens with the output, found 3"):
        tuner.refine(recipe, examples, 1, PLAN, ignore)


def test_threads_are_those_of_the_caller_alone(tuner: TorchTuner) -> None:
    usual = torch.get_num_threads()
    counts: list[int] = []

    def compute() -> None:
        tuner.use_threads(usual + 1)
        counts.append(torch.get_num_threads())

    for work in (compute, lambda: counts.append(torch.get_num_threads())):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert [*counts, torch.get_num_threads()] == [usual + 1, usual, usual]
