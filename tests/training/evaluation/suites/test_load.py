"""Suites are drawn the same each time, and ask what their names say of inputs that training never drew."""

from pathlib import Path

import pytest

from cloud_service.task import TaskDescription
from training.data.corpus import SPLITS, Split, split_of
from training.data.episodes import Instance
from training.data.families import Sources, load_mixture
from training.data.families.instructions import is_seen, load_described_tasks
from training.data.families.tools import is_held_out, load_test_services, load_tools
from training.evaluation.suites import SUITES, Suite, SuiteSizes, SuiteTask, load_suites
from training.evaluation.suites.load import bare_text, without_inputs
from training.evaluation.suites.published import SOURCES

SIZES = SuiteSizes(tasks=6, samples=3, inputs=4, reasoning_inputs=5)


@pytest.fixture(scope="module")
def suites(suite_data: Path) -> dict[str, Suite]:
    return {suite.name: suite for suite in load_suites(suite_data, "test", SIZES)}


def test_every_suite_draws_in_both_splits(suite_data: Path, suites: dict[str, Suite]) -> None:
    assert tuple(suites) == SUITES
    validation = load_suites(suite_data, "validation", SIZES)
    for suite in [*suites.values(), *validation]:
        if suite.name in {"tasks-sibling", "tasks-unseen"} and suite in validation:
            continue  # the toy folder holds these for test alone
        assert suite.tasks, suite.name
        assert len({task.name for task in suite.tasks}) == len(suite.tasks)
        for task in suite.tasks:
            assert len(task.samples) == 3
            assert 1 <= len(task.instances) <= 5
            assert task.practice


def test_same_draw_in_every_call(suite_data: Path, suites: dict[str, Suite]) -> None:
    assert load_suites(suite_data, "test", SIZES) == list(suites.values())


def test_chosen_suites_are_drawn_as_among_all(suite_data: Path, suites: dict[str, Suite]) -> None:
    chosen = load_suites(suite_data, "test", SIZES, ["reasoning", "conflict"])
    assert chosen == [suites["conflict"], suites["reasoning"]]


def test_first_description_has_no_examples_and_no_example_is_asked_for(suites: dict[str, Suite]) -> None:
    with_examples = 0
    for suite in suites.values():
        for task in suite.tasks:
            asked = {instance.input for instance in task.instances}
            assert not asked & {instance.input for instance in task.practice}
            for number, sample in enumerate(task.samples):
                assert not asked & {example.input for example in sample.examples}
                if suite.name == "reasoning":
                    assert len(sample.examples) == 5
                elif number == 0:
                    assert not sample.examples
                else:
                    with_examples += bool(sample.examples)
    assert with_examples > 10


def test_inputs_are_never_drawn_for_training(suite_data: Path, suites: dict[str, Suite]) -> None:
    """Short texts are parts of utterances, so they are checked against whole ones: none is a training utterance."""
    mixture = load_mixture(Sources(suite_data))
    trained = {t for f in mixture.families if f.name == "tools" for k in f.tools for t in k.utterances["train"]}  # type: ignore[attr-defined]
    for name in ("tasks-seen", "conflict", "tools-seen", "tools-renamed"):
        for task in suites[name].tasks:
            assert not trained & {instance.input for instance in task.instances}


def test_input_that_training_draws_is_not_scored_whatever_its_spelling() -> None:
    asked = tuple(Instance(text, "yes") for text in ("Wake me, please!", "wake  him", "...", "wake me please now"))
    task = SuiteTask("one", (TaskDescription("Do it."),), asked, (), (("yes", "no"),) * 4)
    kept = without_inputs(task, {bare_text("wake me please"), bare_text("Wake him.")})
    assert [instance.input for instance in kept.instances] == ["...", "wake me please now"]
    assert len(kept.choices) == 2


def test_closed_answers_are_among_the_choices(suites: dict[str, Suite]) -> None:
    closed = [task for suite in suites.values() for task in suite.tasks if task.choices]
    assert len(closed) > 20
    for task in closed:
        for instance, choices in zip(task.instances, task.choices, strict=True):
            assert instance.output in choices
            assert len(set(choices)) == len(choices)


def test_unseen_tools_of_validation_and_test_are_different_tools(suite_data: Path) -> None:
    services = load_test_services(suite_data)
    held_out = {known.tool.name for known in load_tools(suite_data) if is_held_out(known, services)}
    named: dict[Split, set[str]] = {}
    for split in SPLITS[1:]:
        (suite,) = load_suites(suite_data, split, SIZES, ["tools-unseen"])
        named[split] = {tool.name for task in suite.tasks for tool in task.samples[0].tools}
        assert named[split] <= held_out
    assert not named["validation"] & named["test"]
    assert "BookTrip" in named["test"]


def test_renamed_tools_keep_their_descriptions_and_lose_their_names(suite_data: Path, suites: dict[str, Suite]) -> None:
    known = {known.tool.name: known.tool.description for known in load_tools(suite_data)}
    for task in suites["tools-renamed"].tasks:
        for tool in task.samples[0].tools:
            assert tool.name not in known
            assert tool.description in known.values()
        names = [{tool.name for tool in sample.tools} for sample in task.samples]
        assert names == [set(task.choices[0])] * 3
        assert {instance.output for instance in task.instances} <= names[0]


def test_near_and_far_published_tasks_are_told_apart(suite_data: Path, suites: dict[str, Suite]) -> None:
    siblings = {task.name for task in suites["tasks-sibling"].tasks}
    assert {"instructions/task1508_wordnet_antonyms", "classify/duplicate-questions"} <= siblings
    unseen = {task.name for task in suites["tasks-unseen"].tasks}
    assert "classify/inference-mnli" in unseen
    held_out = {task.name for task in load_described_tasks(suite_data) if not is_seen(task)}
    for name in siblings | unseen:
        if name.startswith("instructions/"):
            assert name.removeprefix("instructions/") in held_out
            assert split_of(f"task/{name.removeprefix('instructions/')}") == "test"


def test_tables_name_held_out_tasks_only() -> None:
    """A task that training draws is never scored as a sibling."""
    assert not SOURCES.same_task.keys() & SOURCES.siblings.keys()
    for name in [*SOURCES.same_task, *SOURCES.siblings]:
        assert split_of(f"task/{name}") != "train", name


def test_reasoning_examples_and_questions_come_from_different_records(suites: dict[str, Suite]) -> None:
    reasoning = suites["reasoning"]
    assert reasoning.fixed_tasks
    assert reasoning.tasks[0].name == "reasoning/arc-c"
    assert len(reasoning.tasks) == 8
    for task in reasoning.tasks:
        assert task.metric == "choice"
        assert len(task.choices) == len(task.instances) == 5
