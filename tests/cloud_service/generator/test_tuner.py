"""Refinement through a tiny edge model: what is returned answers held-out examples better, or is what came in."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from cloud_service.answer.choices import chosen_option
from cloud_service.errors import InvalidRequestError
from cloud_service.generation import Asked
from cloud_service.generator import TorchGenerator, load_generator
from cloud_service.generator.choice_head import ChoiceHeadConfig
from cloud_service.generator.tuner import TorchTuner
from cloud_service.refine.held_out import distinct, folds, hold_out
from cloud_service.refine.refinement import RefinePlan
from cloud_service.schemas import GenerateLoraBody
from cloud_service.task import Example, TaskDescription
from loragen.contract.answer import AnswerContract
from loragen.contract.assembly import assemble, build_bundle
from loragen.contract.bundle import parse_bundle
from loragen.contract.recipe import Recipe, encode_recipe, parse_recipe
from tests.cloud_service.generator.tiny import make_pair

CODES = tuple(range(40, 105))
PLAN = RefinePlan(steps=20, budget_seconds=60)
CHOICE = AnswerContract("choice", ("now", "later", "never"))
CHOSEN = distinct(
    [
        Example(f"{verb} the {thing}{ending}", answer)
        for verb in ("play", "stop", "send")
        for thing in ("song", "film", "mail", "door")
        for ending, answer in (("!!!", "now"), ("???", "later"), ("...", "never"))
    ]
)
WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WRITTEN = [Example(f"say {word}", "route it") for word in WORDS]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> TorchGenerator:
    head = ChoiceHeadConfig(first_layer=1, rank=12)
    pair = make_pair(tmp_path_factory.mktemp("pair"), choice=head, codes=CODES, call_experts=2, mix="deltas")
    return load_generator(pair.generator, pair.cloud, pair.edge)


@pytest.fixture(scope="module")
def tuner(loaded: TorchGenerator) -> TorchTuner:
    return loaded.load_tuner()


def one_pass(loaded: TorchGenerator, task: TaskDescription) -> Recipe:
    (generation,) = loaded.generate([Asked.of(task)])
    return generation.recipe(loaded.info, loaded.bank.digest)


def ignore(done: int, total: int) -> None:
    assert 0 <= done <= total


def test_keys_are_tuned_and_scores_are_those_of_what_is_served(loaded: TorchGenerator, tuner: TorchTuner) -> None:
    recipe, shown = one_pass(loaded, TaskDescription("When?", CHOSEN[:4], answer=CHOICE)), 4
    refined, report = tuner.refine(recipe, CHOSEN, shown, PLAN, ignore)
    assert (report.tuned, report.kept, report.examples, report.held_out) == ("keys", True, 36, 32)
    assert report.after.right > report.before.right + 0.2
    assert report.after.right > 0.8
    assert refined.answer == recipe.answer
    assert np.array_equal(refined.gates, recipe.gates)

    probe = loaded.load_probe()
    before, after = (parse_bundle(build_bundle(loaded.bank, each)) for each in (recipe, refined))
    held = probe.score(CHOSEN[shown:], before.lora, before.header.answer)
    assert report.before.right == pytest.approx(held.exact_match)
    assert report.before.loss == pytest.approx(-held.log_likelihood, rel=1e-3)
    assert probe.score(CHOSEN, after.lora, after.header.answer).exact_match >= report.after.right


def test_keys_of_calls_are_tuned_beside_the_experts_of_arguments(loaded: TorchGenerator, tuner: TorchTuner) -> None:
    body = GenerateLoraBody.model_validate(
        {
            "description": "Call one of the tools with its arguments.",
            "tools": [
                {"name": name, "parameters": {"type": "object", "properties": {"day": {"type": "string"}}}}
                for name in ("play", "wait")
            ],
        }
    )
    recipe = one_pass(loaded, body.to_request().task)
    assert recipe.answer.kind == "tool_calls"
    assert recipe.gates.any()
    calls = {"now": '{"name": "play", "arguments": {"day": "x"}}', "later": '{"name": "wait", "arguments": {}}'}
    examples = [Example(each.input, calls[each.output]) for each in CHOSEN if each.output in calls]
    refined, report = tuner.refine(recipe, examples, 2, PLAN, ignore)
    assert report.kept
    assert report.after.right > 0.8
    assert np.array_equal(refined.gates, recipe.gates)
    bundle = parse_bundle(build_bundle(loaded.bank, recipe))
    names = [
        Example(each.input, ("play", "wait")[chosen_option(each.output, ("play", "wait")) or 0]) for each in examples
    ]
    held = loaded.load_probe().score(names[2:], bundle.lora, bundle.header.answer)
    assert report.before.right == pytest.approx(held.exact_match)
    assert report.before.loss == pytest.approx(-held.log_likelihood, rel=1e-3)


def test_labels_are_told_behind_the_residual_prompt_and_beside_their_experts(tmp_path: Path) -> None:
    head = ChoiceHeadConfig(first_layer=1, rank=12)
    settings = {"choice": head, "codes": CODES, "label_experts": 2, "mix": "deltas", "residual_prompt_tokens": 60}
    pair = make_pair(tmp_path, **settings)
    judging = load_generator(pair.generator, pair.cloud, pair.edge)
    recipe = one_pass(judging, TaskDescription("When is it?", answer=CHOICE))
    assert recipe.residual_prompt == "When is it?"
    assert recipe.gates.any()
    refined, report = judging.load_tuner().refine(recipe, CHOSEN, 2, PLAN, ignore)
    assert report.kept
    assert (refined.residual_prompt, refined.answer) == (recipe.residual_prompt, recipe.answer)
    bundle = parse_bundle(build_bundle(judging.bank, recipe))
    held = judging.load_probe().score(CHOSEN[2:], bundle.lora, bundle.header.answer, recipe.residual_prompt)
    assert report.before.right == pytest.approx(held.exact_match)
    assert report.before.loss == pytest.approx(-held.log_likelihood, rel=1e-3)


def test_gates_are_tuned_and_the_recipe_builds_what_was_scored(loaded: TorchGenerator, tuner: TorchTuner) -> None:
    recipe = one_pass(loaded, TaskDescription("Say it.", tuple(WRITTEN[:2])))
    refined, report = tuner.refine(recipe, WRITTEN, 2, PLAN, ignore)
    assert (report.tuned, report.kept, report.examples, report.held_out) == ("gates", True, 10, 2)
    assert report.after.loss < 0.95 * report.before.loss
    assert 0 < report.steps <= 20
    assert np.array_equal(refined.gates != 0, recipe.gates != 0)
    again = parse_recipe(encode_recipe(refined))
    assert build_bundle(loaded.bank, again) == build_bundle(loaded.bank, refined)
    held = [WRITTEN[number] for number in hold_out(WRITTEN, 2, lambda _: 1)]
    lora = assemble(loaded.bank, refined.gates)
    score = loaded.load_probe().score(held, lora, residual_prompt=recipe.residual_prompt)
    assert report.after.right == score.exact_match


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


@pytest.mark.parametrize("answer", [CHOICE, None])
def test_example_that_does_not_fit_is_refused(
    loaded: TorchGenerator, tuner: TorchTuner, answer: AnswerContract | None
) -> None:
    recipe = one_pass(loaded, TaskDescription("When?", answer=answer))
    examples = [*CHOSEN[:5], Example("x" * 300, "now")]
    with pytest.raises(InvalidRequestError, match=r"examples\.5: expected at most 256 tokens with the output, found 3"):
        tuner.refine(recipe, examples, 1, PLAN, ignore)


def test_head_of_several_layers_is_not_tuned(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, choice=ChoiceHeadConfig(first_layer=0, rank=2), codes=CODES)
    generator = load_generator(pair.generator, pair.cloud, pair.edge)
    with pytest.raises(ValueError, match="expected the last one alone"):
        generator.load_tuner().refine(
            one_pass(generator, TaskDescription("When?", answer=CHOICE)), CHOSEN, 1, PLAN, ignore
        )


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


def test_folds_hold_out_each_choice_in_turn() -> None:
    parts = folds(CHOSEN, 4, 5)
    assert sorted(number for part in parts for number in part) == list(range(4, 36))
    assert all({CHOSEN[number].output for number in part} == set(CHOICE.choices) for part in parts)
