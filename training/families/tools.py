"""Family: route a request to one of several tools, in sets that are drawn anew for each episode.

A sixth of the tools, and every service of the Schema-Guided Dialogue test split, is never drawn for training.
Sources: CLINC150 (CC BY 3.0), MetaTool (MIT), Schema-Guided Dialogue (CC BY-SA 4.0).
"""

import json
import random
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from cloud_service.task import Example, TaskDescription, Tool
from training.corpus import SPLITS, Split, read_records, split_of
from training.episodes import Episode, Instance, choose_examples
from training.families import wording

SHORTEST_DIALOGUE_WORDS = 6  # shorter dialogue turns ("Yes, please.") do not say which tool they mean
LONGEST_UTTERANCE = 240
LONGEST_DESCRIPTION = 100
CLINC_SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}


@dataclass(slots=True)
class KnownTool:
    """A tool with utterances that call it."""

    tool: Tool
    domain: str
    utterances: dict[Split, list[str]] = field(default_factory=lambda: defaultdict(list))


class ToolRouting:
    """Draws three to ten tools, and requests for them."""

    name = "tools"

    def __init__(self, tools: list[KnownTool]) -> None:
        self.tools = tools
        self._names = len({known.tool.name for known in tools})
        self._by_domain: dict[str, list[KnownTool]] = defaultdict(list)
        for known in tools:
            self._by_domain[known.domain].append(known)

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode with a new set of tools; half of the sets hold neighbours from one domain, the harder case."""
        size = min(rng.randint(3, 10), self._names)
        chosen: dict[str, KnownTool] = {}
        if rng.random() < 0.5:
            near = self._by_domain[rng.choice(self.tools).domain]
            chosen = {known.tool.name: known for known in rng.sample(near, min(len(near), size // 2 + 1))}
        while len(chosen) < size:
            known = rng.choice(self.tools)
            chosen.setdefault(known.tool.name, known)
        tools = list(chosen.values())
        rng.shuffle(tools)
        instances = []
        for _ in range(inputs + 4):
            known = rng.choice(tools)
            instances.append(Instance(rng.choice(known.utterances[split]), known.tool.name))
        return describe_routing(rng, [known.tool for known in tools], instances, inputs, split)


def describe_routing(
    rng: random.Random, tools: list[Tool], instances: list[Instance], inputs: int, split: Split
) -> Episode:
    """Words a routing task: with or without tool descriptions, examples and output format; names or JSON as answer."""
    in_json = rng.random() < 0.1
    if in_json:
        instances = [Instance(i.input, json.dumps({"tool": i.output})) for i in instances]
    examples, taken = choose_examples(rng, instances, inputs, split)
    output_format = rng.choice(wording.ROUTE_JSON) if in_json else wording.maybe(rng, 0.6, wording.ROUTE_FORMAT)
    if rng.random() < 0.15:
        tools = [Tool(t.name, "", t.parameters) for t in tools]
    if rng.random() < 0.5:
        tools = [Tool(t.name, t.description, ()) for t in tools]
    task = TaskDescription(
        description=wording.choose(rng, wording.ROUTE) if rng.random() < 0.95 else "",
        examples=tuple(Example(e.input, e.output) for e in examples),
        tools=tuple(tools),
        output_format=output_format,
    )
    labels = tuple(json.dumps({"tool": t.name}) if in_json else t.name for t in tools)
    return Episode("tools", task, tuple(instances[taken : taken + inputs]), labels)


def load_tools(data: Path) -> list[KnownTool]:
    """Every tool with enough utterances, seen and held out alike."""
    parameters = {
        record["tool"]: tuple(record["parameters"])[:5] for record in read_records(data / "tools/definitions.jsonl.zst")
    }
    tools: dict[str, KnownTool] = {}
    for record in read_records(data / "tools/utterances.jsonl.zst"):
        utterance = " ".join(record["utterance"].split())
        dialogue = record["source"] == "sgd"
        if len(utterance) > LONGEST_UTTERANCE or (dialogue and len(utterance.split()) < SHORTEST_DIALOGUE_WORDS):
            continue
        if dialogue and not record["arguments"]:
            continue
        key = f"{record['source']}/{record['tool']}"
        if key not in tools:
            name = record["tool"].split(".")[-1]
            text = record["description"] or f"{humanize(name)} ({humanize(record['domain'])})"
            tool = Tool(name, " ".join(text.split())[:LONGEST_DESCRIPTION], parameters.get(record["tool"], ()))
            tools[key] = KnownTool(tool, f"{record['source']}/{record['domain'].split('_')[0]}")
        split = CLINC_SPLITS[record["split"]] if record["source"] == "clinc150" else split_of(utterance)
        tools[key].utterances[split].append(utterance)
    _drop_repeated(list(tools.values()))
    return [t for t in tools.values() if all(len(t.utterances[s]) >= 2 for s in SPLITS)]


def _drop_repeated(tools: list[KnownTool]) -> None:
    """Leaves an utterance that several sources hold, in other splits, to training or else to validation."""
    drawn: set[str] = set()
    for split in SPLITS:
        for known in tools:
            known.utterances[split] = [u for u in known.utterances[split] if u not in drawn]
        drawn |= {utterance for known in tools for utterance in known.utterances[split]}


def is_held_out(known: KnownTool, test_services: frozenset[str]) -> bool:
    """Whether a tool must never be drawn for training."""
    return known.tool.name in test_services or split_of(f"tool/{known.tool.name}", held_out=1 / 12) != "train"


def load_test_services(data: Path) -> frozenset[str]:
    """Names of tools that only the test split of Schema-Guided Dialogue has."""
    names: dict[str, set[str]] = defaultdict(set)
    for record in read_records(data / "tools/utterances.jsonl.zst"):
        if record["source"] == "sgd":
            names[record["split"]].add(record["tool"])
    return frozenset(name.split(".")[-1] for name in names["test"] - names["train"] - names["dev"])


def humanize(name: str) -> str:
    """`PlayMusic_2` or `play_music` as `play music`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).strip(" 0123456789").lower()
