"""Descriptions of each kind: parts that share nothing, and texts that ask for nothing in the layout of real ones."""

import random
from collections import Counter
from pathlib import Path

import pytest

from cloud_service.task import Example, TaskDescription, Tool
from training.data.descriptions import UNREAL, load_descriptions, prompt_in_disorder, rewritten
from training.data.episodes import Family, Mixture
from training.data.families import FamilyWeightError
from training.data.families.classify import Classification
from training.data.families.instructions import PublishedInstructions
from training.data.families.tools import ToolRouting, is_held_out


def _families(mixture: Mixture) -> dict[str, Family]:
    """By name; of two families of one name the last."""
    return {family.name: family for family in mixture.families}


def test_parts_share_no_held_out_task_no_held_out_tool_and_no_prose(described: Path) -> None:
    parts = load_descriptions(described)
    validation, test = parts["validation"], parts["test"]
    assert validation.paragraphs
    assert test.paragraphs
    assert not set(validation.paragraphs) & set(test.paragraphs)
    tasks, tools = [], []
    for part in parts.values():
        instructions = _families(part.open).get("instructions")
        tasks += [task.name for task in instructions.tasks] if isinstance(instructions, PublishedInstructions) else []
        routing = _families(part.closed).get("tools")
        known = routing.tools if isinstance(routing, ToolRouting) else []
        assert all(is_held_out(each, frozenset({"BookTrip"})) for each in known)
        tools += [each.tool.name for each in known]
    assert len(tasks) == len(set(tasks)) > 0
    assert len(tools) == len(set(tools)) > 0


def test_open_tasks_are_drawn_by_the_weights_of_training(described: Path) -> None:
    for part in load_descriptions(described, {"transform": 1.0}).values():
        drawn = {part.draw(random.Random(seed), "open", 2).name.split("/")[0] for seed in range(40)}
        assert "transform" in drawn <= {"transform", "short_tasks", "sentence_tasks", "instructions"}
    with pytest.raises(FamilyWeightError):
        load_descriptions(described, {"no_family": 1.0})


def test_closed_sets_are_tools_labels_and_yes_or_no_with_inputs_of_the_part(described: Path) -> None:
    for name, part in load_descriptions(described).items():
        episodes = [part.draw(random.Random(seed), "closed", 3) for seed in range(60)]
        assert {episode.name.split("/")[0] for episode in episodes} >= {"label_tasks", "classify", "yes_no"}
        assert all(each.output in episode.labels for episode in episodes for each in episode.instances)
        said = {each.input for episode in episodes for each in episode.instances if episode.name.startswith("classify")}
        assert said
        for kind in _families(part.closed).values():
            if isinstance(kind, Classification):
                assert said <= {text for texts in kind.data_sets for text, _ in texts.texts[name]}


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
