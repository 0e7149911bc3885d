"""Descriptions of each kind: parts that share nothing, and texts that ask for nothing in the layout of real ones."""

import random
from collections import Counter
from pathlib import Path

import pytest

from cloud_service.task import Example, TaskDescription, Tool
from training.data.descriptions import UNREAL, load_descriptions, prompt_in_disorder, rewritten
from training.data.families.tools import is_held_out


def test_parts_share_no_held_out_task_no_held_out_tool_and_no_prose(described: Path) -> None:
    parts = load_descriptions(described)
    validation, test = parts["validation"], parts["test"]
    assert validation.paragraphs
    assert test.paragraphs
    assert not set(validation.paragraphs) & set(test.paragraphs)
    assert "tasks-paraphrased" in test.families
    assert "tasks-paraphrased" not in validation.families
    for suite, find in (
        ("tasks-unseen", lambda family: {task.name for task in family.tasks}),
        ("tools-unseen", lambda family: {known.tool.name for known in family.tools}),
    ):
        found = [find(part.families[suite]) for part in (validation, test) if suite in part.families]
        assert found
        assert sum(map(len, found)) == len(set().union(*found))
    for part in (validation, test):
        if "tools-unseen" in part.families:
            assert all(is_held_out(known, frozenset({"BookTrip"})) for known in part.families["tools-unseen"].tools)  # type: ignore[attr-defined]


def test_prompts_follow_from_the_random_state_alone(described: Path) -> None:
    part = load_descriptions(described)["test"]
    for kind in UNREAL:
        drawn = [[part.draw_unreal(random.Random(seed), kind) for seed in range(6)] for _ in range(2)]
        assert drawn[0] == drawn[1]
        assert len(set(drawn[0])) > 1
        assert all(drawn[0])
    with pytest.raises(ValueError, match="kind is 'sense'"):
        part.draw_unreal(random.Random(0), "sense")


def test_disorder_keeps_words_and_layout() -> None:
    prompt = "Sort each mail.\n\nTools:\n- find: Finds it.\n- send: Sends it."
    shuffled = prompt_in_disorder(random.Random(1), prompt)
    assert shuffled != prompt
    assert Counter(shuffled.split()) == Counter(prompt.split())
    assert shuffled.count("\n") == prompt.count("\n")


def test_rewriting_keeps_the_layout_and_no_text() -> None:
    task = TaskDescription("Sort.", (Example("in", "out"),), (Tool("find", "", ("place",)),), "")
    again = rewritten(task, lambda text: f"new {len(text)}")
    assert again == TaskDescription("new 5", (Example("new 2", "new 3"),), (Tool("new_4", "", ("new_5",)),), "")
