"""Suites are drawn the same each time, and score inputs that training never drew."""

from pathlib import Path

from cloud_service.task import TaskDescription
from tests.training.evaluation.suites.conftest import SIZES
from training.data.episodes import Instance
from training.data.families import Sources, load_mixture
from training.evaluation.suites import SUITES, Suite, SuiteTask, load_suites
from training.evaluation.suites.load import bare_text, without_inputs


def test_every_suite_draws_in_both_splits(suite_data: Path, suites: dict[str, Suite]) -> None:
    assert tuple(suites) == SUITES
    validation = load_suites(suite_data, "validation", SIZES)
    for suite in [*suites.values(), *validation]:
        if suite.name in {"tasks-sibling", "tasks-unseen", "calls-unseen"} and suite in validation:
            continue  # the toy folder holds these for test alone
        assert suite.tasks, suite.name
        assert len({task.name for task in suite.tasks}) == len(suite.tasks)
        for task in suite.tasks:
            assert 1 <= len(task.instances) <= 5
            assert task.practice or suite.name == "calls-unseen"


def test_same_draw_in_every_call(suite_data: Path, suites: dict[str, Suite]) -> None:
    assert load_suites(suite_data, "test", SIZES) == list(suites.values())


def test_chosen_suites_are_drawn_as_among_all(suite_data: Path, suites: dict[str, Suite]) -> None:
    chosen = load_suites(suite_data, "test", SIZES, ["reasoning", "conflict"])
    assert chosen == [suites["conflict"], suites["reasoning"]]


def test_some_descriptions_have_examples_and_no_example_is_asked_for(suites: dict[str, Suite]) -> None:
    shown = []
    for suite in suites.values():
        for task in suite.tasks:
            asked = {instance.input for instance in task.instances}
            assert not asked & {instance.input for instance in task.practice}
            assert not asked & {example.input for example in task.description.examples}
            if suite.name == "reasoning":
                assert len(task.description.examples) == 5
            else:
                shown.append(len(task.description.examples))
    assert 0.25 < sum(map(bool, shown)) / len(shown) < 0.75
    assert max(shown) <= 4


def test_inputs_are_never_drawn_for_training(suite_data: Path, suites: dict[str, Suite]) -> None:
    """Short texts are parts of utterances, so they are checked against whole ones: none is a training utterance."""
    mixture = load_mixture(Sources(suite_data))
    trained = {t for f in mixture.families if f.name == "tools" for k in f.tools for t in k.utterances["train"]}  # type: ignore[attr-defined]
    for name in ("tasks-seen", "conflict", "tools-seen", "tools-renamed"):
        for task in suites[name].tasks:
            assert not trained & {instance.input for instance in task.instances}


def test_input_that_training_draws_is_not_scored_whatever_its_spelling() -> None:
    asked = tuple(Instance(text, "yes") for text in ("Wake me, please!", "wake  him", "...", "wake me please now"))
    task = SuiteTask("one", TaskDescription("Do it."), asked, (), (("yes", "no"),) * 4)
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
