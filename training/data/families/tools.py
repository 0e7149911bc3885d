"""Family: route a request to one of several tools, in sets that are drawn anew for each episode.

Some sets get new names, so that only the description says what a tool is called. A request that no tool of the set
serves is answered `none`, or what the description says for it, so that only the description says which tools there are.
A sixth of the tools with real requests, and every service of the Schema-Guided Dialogue test split, is never drawn for
training.

Sources: CLINC150 (CC BY 3.0), MetaTool (MIT), Schema-Guided Dialogue (CC BY-SA 4.0); names and descriptions of
Seal-Tools (Apache-2.0), for which requests are made from the descriptions.
"""

import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from cloud_service.task import Example, TaskDescription, Tool
from training.data.corpus import SPLITS, Split, read_records, split_of
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families import renaming
from training.data.templates import Templates, checked, fill, load_templates, maybe, placeholders

SHORTEST_DIALOGUE_WORDS = 6  # shorter dialogue turns ("Yes, please.") do not say which tool they mean
LONGEST_UTTERANCE = 240
LONGEST_DESCRIPTION = 100
STATED_NONE_SHARE = 0.25  # sets whose description says what to answer when no tool fits
STATED_FOREIGN_SHARE = 0.25  # requests that no tool of such a set serves
NONE = "none"
CLINC_SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}


@checked
@dataclass(frozen=True, slots=True)
class ToolTemplates:
    """What `tools.toml` holds."""

    asks: Templates
    formats: Templates
    json_formats: Templates
    none_rules: Annotated[Templates, placeholders("none")]
    none_answers: Templates
    common_words: Templates


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), ToolTemplates)


@dataclass(frozen=True, slots=True)
class ToolShares:
    """How often tools are drawn, and sets of them of a harder kind.

    Attributes:
        episodes: Of a mixture's episodes, those that route to tools.
        renamed: Sets whose tools get new names.
        described: Sets of tools that only their descriptions are known of.
        foreign: Requests that no tool of the set serves, where the description does not speak of them.
    """

    episodes: float = 0.38
    renamed: float = 0.5
    described: float = 0.3
    foreign: float = 0.06


@dataclass(slots=True)
class KnownTool:
    """A tool with utterances that call it."""

    tool: Tool
    domain: str
    utterances: dict[Split, list[str]] = field(default_factory=lambda: defaultdict(list))


class ToolRouting:
    """Draws at least three tools, and requests for them.

    Args:
        tools: Tools with real requests.
        described: Tools with requests made from their descriptions; in some sets, and alone in others.
        shares: How often which kind of set is drawn.
        most: Tools of the largest set.
    """

    name = "tools"

    def __init__(
        self,
        tools: Sequence[KnownTool],
        described: Sequence[KnownTool] = (),
        shares: ToolShares | None = None,
        most: int = 10,
    ) -> None:
        self.tools, self.described, self._shares, self._most = tools, described, shares or ToolShares(), most
        self._names = [len({known.tool.name for known in pool}) for pool in (tools, described)]
        self._by_domain: dict[str, list[KnownTool]] = defaultdict(list)
        for known in (*tools, *described):
            self._by_domain[known.domain].append(known)

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode with a new set of tools; half of the sets hold neighbours from one domain, the harder case."""
        described = bool(self.described) and rng.random() < self._shares.described
        pool, mixed = (self.described, False) if described else (self.tools, rng.random() < self._shares.described)
        size = min(rng.randint(3, self._most), self._names[described])
        chosen: dict[str, KnownTool] = {}
        if rng.random() < 0.5:
            near = self._by_domain[rng.choice(pool).domain]
            chosen = {known.tool.name: known for known in rng.sample(near, min(len(near), size // 2 + 1))}
        while len(chosen) < size:
            known = rng.choice(self.described if mixed and self.described and rng.random() < 0.5 else pool)
            chosen.setdefault(known.tool.name, known)
        shown = list(chosen.values())
        rng.shuffle(shown)
        tools = [known.tool for known in shown]
        if rng.random() < self._shares.renamed:
            renamed = renaming.rename_tools(rng, [(humanize(t.name), t.description) for t in tools])
            tools = [replace(tool, name=name) for tool, name in zip(tools, renamed, strict=True)]

        rule, none = "", NONE
        if rng.random() < STATED_NONE_SHARE:
            none = rng.choice(TEMPLATES.none_answers)
            rule = " " + fill(rng, TEMPLATES.none_rules, none=none)
        foreign_share = max(STATED_FOREIGN_SHARE, self._shares.foreign) if rule else self._shares.foreign
        instances = []
        for _ in range(inputs + 4):
            index = rng.randrange(size)
            foreign = self._foreign(rng, shown, pool) if rng.random() < foreign_share else None
            if foreign is not None:
                instances.append(Instance(rng.choice(foreign.utterances[split]), none))
            else:
                instances.append(Instance(rng.choice(shown[index].utterances[split]), tools[index].name))
        return describe_routing(rng, tools, instances, inputs, split, rule, none)

    def _foreign(self, rng: random.Random, shown: Sequence[KnownTool], pool: Sequence[KnownTool]) -> KnownTool | None:
        """A tool outside of the set that has no word in common with any name in it; None when no draw finds one."""
        taken = {word for known in shown for word in _telling_words(known)}
        for _ in range(5):
            known = rng.choice(pool)
            if not taken & _telling_words(known):
                return known
        return None


def describe_routing(
    rng: random.Random,
    tools: Sequence[Tool],
    instances: list[Instance],
    inputs: int,
    split: Split,
    rule: str = "",
    none: str = NONE,
) -> Episode:
    """Words a routing task: with or without tool descriptions, examples and output format; names or JSON as answer."""
    in_json = rng.random() < 0.1
    if in_json:
        instances = [Instance(i.input, json.dumps({"tool": i.output})) for i in instances]
    examples, taken = choose_examples(rng, instances, inputs, split)
    output_format = rng.choice(TEMPLATES.json_formats) if in_json else maybe(rng, 0.6, TEMPLATES.formats)
    if rng.random() < 0.1:
        tools = [Tool(t.name, "", t.parameters) for t in tools]
    if rng.random() < 0.6:
        tools = [Tool(t.name, t.description, ()) for t in tools]
    text = rng.choice(TEMPLATES.asks) if rule or rng.random() < 0.95 else ""
    task = TaskDescription(
        description=text + rule,
        examples=tuple(Example(e.input, e.output) for e in examples),
        tools=tuple(tools),
        output_format=output_format,
    )
    answers = [*(t.name for t in tools), *([none] if rule else [])]
    labels = tuple(json.dumps({"tool": answer}) if in_json else answer for answer in answers)
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


def _telling_words(known: KnownTool) -> set[str]:
    return set(re.findall(r"[a-z]{4,}", humanize(known.tool.name))) - set(TEMPLATES.common_words)


def _drop_repeated(tools: list[KnownTool]) -> None:
    """Leaves an utterance that several sources hold, in other splits, to training or else to validation."""
    drawn: set[str] = set()
    for split in SPLITS:
        for known in tools:
            known.utterances[split] = [u for u in known.utterances[split] if u not in drawn]
        drawn |= {utterance for known in tools for utterance in known.utterances[split]}


def split_of_tool(known: KnownTool, test_services: frozenset[str]) -> Split:
    """Where a tool is met: in training, or, with its description, in validation or test alone."""
    return "test" if known.tool.name in test_services else split_of(f"tool/{known.tool.name}", held_out=1 / 12)


def is_held_out(known: KnownTool, test_services: frozenset[str]) -> bool:
    """Whether a tool must never be drawn for training."""
    return split_of_tool(known, test_services) != "train"


def load_test_services(data: Path) -> frozenset[str]:
    """Names of tools that only the test split of Schema-Guided Dialogue has."""
    found: dict[str, set[str]] = defaultdict(set)
    for record in read_records(data / "tools/utterances.jsonl.zst"):
        if record["source"] == "sgd":
            found[record["split"]].add(record["tool"])
    return frozenset(name.split(".")[-1] for name in found["test"] - found["train"] - found["dev"])


def humanize(name: str) -> str:
    """`PlayMusic_2` or `play_music` as `play music`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).strip(" 0123456789").lower()
