"""Family: extract one field of a message. A message has several fields, and only the description says which to take.

Source: slot values of Schema-Guided Dialogue (CC BY-SA 4.0), where the value stands in the message word for word.
"""

import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split, read_records, split_of
from training.data.episodes import Episode, Instance, choose_examples
from training.data.templates import Templates, checked, fill, load_templates, maybe, placeholders


@checked
@dataclass(frozen=True, slots=True)
class FieldKind:
    """A kind of fields in `extract.toml`: what people call one, and the slots that hold one."""

    names: Templates
    slots: Templates


@checked
@dataclass(frozen=True, slots=True)
class ExtractTemplates:
    """What `extract.toml` holds."""

    asks: Annotated[Templates, placeholders("slot")]
    formats: Templates
    kinds: dict[str, FieldKind]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), ExtractTemplates)
KIND_OF = {slot: kind for kind, fields in TEMPLATES.kinds.items() for slot in fields.slots}


class SlotExtraction:
    """Draws a kind of field and messages that hold it; messages with several fields come first."""

    name = "extract"

    def __init__(self, messages: dict[str, dict[Split, list[Instance]]]) -> None:
        self._messages = {kind: by for kind, by in messages.items() if all(len(by[s]) >= 12 for s in by)}
        self.kinds = sorted(self._messages)

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode for one kind of field."""
        kind = rng.choice(self.kinds)
        instances = [rng.choice(self._messages[kind][split]) for _ in range(inputs + 4)]
        examples, taken = choose_examples(rng, instances, inputs, split)
        described = rng.random() < 0.95 or not examples
        task = TaskDescription(
            description=fill(rng, TEMPLATES.asks, slot=rng.choice(TEMPLATES.kinds[kind].names)) if described else "",
            examples=tuple(Example(e.input, e.output) for e in examples),
            output_format=maybe(rng, 0.5, TEMPLATES.formats),
        )
        return Episode(f"extract/{kind}", task, tuple(instances[taken : taken + inputs]))


def load_messages(data: Path) -> dict[str, dict[Split, list[Instance]]]:
    """Messages by kind of field and split; a message with two values of one kind is left out as ambiguous."""
    messages: dict[str, dict[Split, list[Instance]]] = defaultdict(lambda: {"train": [], "validation": [], "test": []})
    for record in read_records(data / "tools/utterances.jsonl.zst"):
        values: dict[str, set[str]] = defaultdict(set)
        for slot, value in (record["arguments"] or {}).items():
            if slot in KIND_OF and isinstance(value, str) and value in record["utterance"]:
                values[KIND_OF[slot]].add(value)
        for kind, found in values.items():
            if len(found) == 1 and len(record["utterance"]) <= 240:
                utterance = " ".join(record["utterance"].split())
                # Messages to the test services stay unseen as inputs, too: `tools-unseen` is measured on them.
                split: Split = "test" if record["split"] == "test" else split_of(utterance)
                messages[kind][split].append(Instance(utterance, found.pop()))
    # The test services say a few things word for word as others do; such a message counts as drawn for training.
    drawn = {i.input for by in messages.values() for i in by["train"] + by["validation"]}
    for by in messages.values():
        by["test"] = [instance for instance in by["test"] if instance.input not in drawn]
    return messages
