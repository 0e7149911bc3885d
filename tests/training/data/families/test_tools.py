"""Routing draws sets of tools that training may see, and answers what the description says."""

import json
import random
from pathlib import Path

import pytest

from cloud_service.task import Tool
from tests.training.data.families.drawing import draw, inputs_of
from tests.training.packed import write_records
from training.data.corpus import SPLITS, Split, read_records
from training.data.episodes import Mixture
from training.data.families import ToolShares
from training.data.families.tools import KnownTool, ToolRouting, is_held_out, load_test_services, load_tools


def test_held_out_tools_are_never_drawn_for_training(mixture: Mixture, data: Path) -> None:
    services = load_test_services(data)
    assert services == {"BookTrip"}
    tools = load_tools(data)
    held_out = {known.tool.name for known in tools if is_held_out(known, services)}
    seen = {known.tool.name for known in tools} - held_out
    assert "BookTrip" in held_out
    assert len(held_out) >= 5
    episodes = [e for split in SPLITS for e in draw(mixture, "tools", split, 200)]
    drawn = {tool.name for episode in episodes for tool in episode.task.tools}
    assert seen <= drawn
    assert not held_out & drawn
    kept = {u for known in tools if known.tool.name in held_out for us in known.utterances.values() for u in us}
    assert kept
    assert not kept & inputs_of(episodes)


def test_utterance_of_two_sources_has_one_split(tmp_path: Path, data: Path) -> None:
    """The same words as a training utterance of one tool and a test utterance of another: training keeps them."""
    records = list(read_records(data / "tools/utterances.jsonl.zst"))
    repeated = next(r for r in records if r["source"] == "clinc150" and r["split"] == "train")
    other = next(r for r in records if r["source"] == "clinc150" and r["tool"] != repeated["tool"])
    records += [other | {"utterance": repeated["utterance"], "split": split} for split in ("val", "test")]
    write_records(tmp_path / "tools/utterances.jsonl.zst", records)
    write_records(tmp_path / "tools/definitions.jsonl.zst", read_records(data / "tools/definitions.jsonl.zst"))
    loaded, before = load_tools(tmp_path), load_tools(data)
    assert [known.utterances for known in loaded] == [known.utterances for known in before]


@pytest.mark.parametrize("split", SPLITS)
def test_routing_answers_with_a_tool_of_the_set(mixture: Mixture, split: Split) -> None:
    in_json, none_fits, renamed = 0, 0, 0
    known = {
        known.tool.name for family in mixture.families if isinstance(family, ToolRouting) for known in family.tools
    }
    for episode in draw(mixture, "tools", split, 200):
        names = [tool.name for tool in episode.task.tools]
        assert 3 <= len(names) <= 10
        assert len(set(names)) == len(names)
        renamed += not known & set(names)
        answers = [instance.output for instance in episode.instances]
        labels = list(episode.labels)
        if answers[0].startswith("{"):
            in_json += 1
            answers = [json.loads(answer)["tool"] for answer in answers]
            labels = [json.loads(label)["tool"] for label in labels]
        assert labels[: len(names)] == names
        for answer in set(answers) - set(names):  # what the description says for it, or the word `none`
            none_fits += 1
            assert [answer] == (labels[len(names) :] or ["none"])
            assert len(labels) == len(names) or answer in episode.task.description
    assert in_json
    assert none_fits
    assert renamed > 20


def test_routing_among_few_tools_uses_all_of_them() -> None:
    tools = [KnownTool(Tool(f"t{n}", "d"), "one", {split: ["a", "b"] for split in SPLITS}) for n in range(2)]
    episode = ToolRouting(tools).draw(random.Random(0), "train", 3)
    assert len({tool.name for tool in episode.task.tools}) == 2


def test_the_largest_set_has_as_many_tools_as_asked_for() -> None:
    tools = [KnownTool(Tool(f"t{n}", "d"), f"d{n}", {split: ["a", "b"] for split in SPLITS}) for n in range(40)]
    for most in (10, 25):
        routing = ToolRouting(tools, most=most)
        sizes = {len(routing.draw(random.Random(seed), "train", 1).task.tools) for seed in range(200)}
        assert (min(sizes), max(sizes)) == (3, most)


def test_foreign_request_shares_no_word_with_a_name_of_the_set() -> None:
    """Also one of the same domain is foreign: the description has to tell which tools there are."""
    called = ["play_music", "pause_music", "book_table", "call_taxi", "send_letter", "paint_house"]
    tools = [KnownTool(Tool(name, "d"), "one", {s: [f"{name} 1", f"{name} 2"] for s in SPLITS}) for name in called]
    shares = ToolShares(renamed=0.0, foreign=1.0)
    nones = 0
    for number in range(40):
        episode = ToolRouting(tools[:5] if number % 2 else tools, shares=shares).draw(random.Random(number), "train", 6)
        words = {word for tool in episode.task.tools for word in tool.name.split("_")}
        for instance in episode.instances:
            asked = instance.input.split()[0]
            if asked not in instance.output:
                nones += 1
                assert not words & set(asked.split("_"))
    assert nones > 40
