"""Function calls: the JSON says what the message says, under the names of the description."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from cloud_service.task import Tool
from tests.training.packed import write_records
from training.data.corpus import SPLITS, Split
from training.data.families.function_calls import Call, CalledFunction, FunctionCalls, call_text, load_functions

ROOMS = {"city": [], "stars": ["1", "2", "3"], "price_range": ["cheap", "pricey"], "pets_allowed": ["True", "False"]}


def called(name: str = "FindRoom") -> CalledFunction:
    calls: dict[Split, list[Call]] = {
        split: [Call(f"{split} {name} in Rome {n}", {"big_city": "Rome"}) for n in range(5)] for split in SPLITS
    }
    return CalledFunction(Tool(name, "Finds a room", ("big_city", "stars")), calls)


def load_one(folder: Path, message: str, arguments: dict[str, Any]) -> list[Call]:
    """The calls that are left of one message."""
    parameters = {name: {"description": name, "values": values} for name, values in ROOMS.items()}
    tool = {"tool": "Rooms_1.FindRoom", "source": "sgd", "description": "Finds a room"}
    write_records(folder / "tools/definitions.jsonl.zst", [tool | {"parameters": parameters}])
    record = {**tool, "utterance": message, "arguments": arguments, "split": "train"}
    write_records(folder / "tools/utterances.jsonl.zst", [record])
    return [call for function in load_functions(folder) for split in SPLITS for call in function.calls[split]]


def test_call_is_one_of_a_shown_function_with_its_own_parameters() -> None:
    others = [Tool("bakeBread", "Bakes bread", ("grain",)), Tool("findRoom", "A namesake", ())]
    family = FunctionCalls([called(), called("BookRoom")], others)
    names = set()
    for number in range(200):
        episode = family.draw(random.Random(number), "train", 3)
        shown = {tool.name: tool for tool in episode.task.tools}
        assert len(shown) == len(episode.task.tools)
        for instance in episode.instances:
            call = json.loads(instance.output)
            assert list(call) == ["name", "arguments"]
            assert call_text(**call) == instance.output
            assert set(call["arguments"]) <= set(shown[call["name"]].parameters)
            assert list(call["arguments"].values()) == ["Rome"]
            names.add(call["name"])
    assert {"FindRoom", "find_room", "findRoom", "find-room"} <= names


def test_call_text_keeps_the_order_and_every_letter() -> None:
    assert call_text("f", {"b": "Zürich", "a": "1"}) == '{"name": "f", "arguments": {"b": "Zürich", "a": "1"}}'


@pytest.mark.parametrize(
    "message",
    [
        "a pricey room in Rome",  # a value of the schema
        "the cheapest room in Rome",  # a word that stands for one
        "2 beds in Rome",
        "Rome, with pets",  # a parameter that is true or false
    ],
)
def test_message_that_says_more_than_its_arguments_is_left_out(tmp_path: Path, message: str) -> None:
    assert load_one(tmp_path, message, {"city": "Rome"}) == []


def test_value_must_stand_in_the_message_as_words(tmp_path: Path) -> None:
    assert load_one(tmp_path, "a room in Rome", {"city": "Rome"}) == [Call("a room in Rome", {"city": "Rome"})]
    assert load_one(tmp_path, "a room in Romeville", {"city": "Rome"}) == []
    assert load_one(tmp_path, "a room at 120 Main Street", {"stars": "2"}) == []
    assert load_one(tmp_path, "a room in Rome", {"city": "Rome", "view": "Rome"}) == [], "no such parameter"


def test_arguments_are_in_the_order_of_the_parameters(tmp_path: Path) -> None:
    (call,) = load_one(tmp_path, "cheap and 3 stars in Rome", {"price_range": "cheap", "stars": "3", "city": "Rome"})
    assert list(call.arguments) == ["city", "stars", "price_range"]


def test_messages_are_read_with_their_split(data: Path) -> None:
    find, book = sorted(load_functions(data), key=lambda function: function.tool.name, reverse=True)
    assert find.tool == Tool("FindTrip", "A trip", ("city", "time", "class"))
    assert [len(find.calls[split]) for split in SPLITS] == [15, 14, 14]
    assert not book.calls["train"], "a test service"
    assert len(book.calls["test"]) == 42, "all but the one that training may draw"
