"""Fields as JSON: the keys of the description, with what the message says of them."""

import json
import random

from cloud_service.task import Tool
from training.data.corpus import SPLITS, Split
from training.data.families.function_calls import Call, CalledFunction
from training.data.families.json_fields import JsonFields


def test_object_has_the_keys_that_are_asked_for() -> None:
    """In the order of the description; a field that the message does not name is null."""
    calls: dict[Split, list[Call]] = {
        split: [
            Call(f"{split} to Rome", {"to_city": "Rome"}),
            Call(f"{split} at nine", {"start_time": "nine"}),
            *(Call(f"{split} to Oslo at {n}", {"to_city": "Oslo", "start_time": f"{n}"}) for n in range(4)),
        ]
        for split in SPLITS
    }
    family = JsonFields([CalledFunction(Tool("Go", "", ("to_city", "start_time", "seat")), calls)])
    empty = 0
    for number in range(100):
        episode = family.draw(random.Random(number), "validation", 3)
        for instance in episode.instances:
            values = json.loads(instance.output)
            places = [episode.task.description.index(key) for key in values]
            assert places == sorted(places)
            assert {key.lower().replace("_", "").replace("-", "") for key in values} <= {"tocity", "starttime"}
            assert all(value is None or value in instance.input for value in values.values())
            empty += not any(values.values())
    assert empty < 60
