"""Tasks of the suites `tools-...`: route a request to one of a new set of tools.

Seen tools are scored on utterances that training never drew, in sets drawn anew. Unseen ones are split by tool:
validation has those whose hash says so, test has the others and every service that only the test split of the
Schema-Guided Dialogue has. Renamed ones are seen tools, under descriptions that are known and names that are not.
Described ones are unseen tools of Seal-Tools, with requests made from their descriptions.
"""

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from cloud_service.task import TaskDescription, Tool
from training.data.corpus import Split
from training.data.episodes import Instance
from training.data.families.tools import TEMPLATES, KnownTool, humanize
from training.data.templates import maybe
from training.evaluation.suites.tasks import SuiteSizes, SuiteTask, draw_balanced, make_task

FEWEST_TOOLS, MOST_TOOLS = 3, 10


def routing_tasks(
    rng: random.Random, tools: Sequence[KnownTool], split: Split, sizes: SuiteSizes, renamed: bool = False
) -> list[SuiteTask]:
    """Tool sets drawn anew; every other one holds neighbours from one domain, as in training."""
    by_domain: dict[str, list[KnownTool]] = defaultdict(list)
    by_name = {known.tool.name: known for known in tools}
    for known in by_name.values():
        by_domain[known.domain].append(known)
    tasks = []
    for number in range(sizes.tasks if by_name else 0):
        size = min(rng.randint(FEWEST_TOOLS, MOST_TOOLS), len(by_name))
        near = by_domain[rng.choice(list(by_name.values())).domain] if number % 2 else []
        chosen = {known.tool.name: known for known in rng.sample(near, min(len(near), size // 2 + 1))}
        while len(chosen) < size:
            known = rng.choice(list(by_name.values()))
            chosen.setdefault(known.tool.name, known)
        shown = rng.sample(list(chosen.values()), size)
        names = rename([known.tool for known in shown], rng, frozenset(by_name)) if renamed else list(chosen)
        new_names = dict(zip([known.tool.name for known in shown], names, strict=True)) if renamed else {}
        tasks.append(routing_task(rng, f"route/{number}", shown, split, sizes, new_names))
    return tasks


def routing_task(
    rng: random.Random,
    name: str,
    tools: Sequence[KnownTool],
    split: Split,
    sizes: SuiteSizes,
    new_names: dict[str, str] | None = None,
    texts: Sequence[Instance] | None = None,
    group: str = "",
) -> SuiteTask:
    """Routing among given tools, under their own names or new ones."""
    called = {known.tool.name: (new_names or {}).get(known.tool.name, known.tool.name) for known in tools}
    shown = [replace(known.tool, name=called[known.tool.name]) for known in tools]

    def instances_of(which: Split) -> list[Instance]:
        return [Instance(text, called[known.tool.name]) for known in tools for text in known.utterances[which]]

    def describe(rng: random.Random) -> TaskDescription:
        listed = [Tool(t.name, t.description, ()) for t in shown] if rng.random() < 0.5 else shown
        return TaskDescription(
            rng.choice(TEMPLATES.asks),
            tools=tuple(rng.sample(listed, len(listed))),
            output_format=maybe(rng, 0.6, TEMPLATES.formats),
        )

    instances = list(texts) if texts is not None else draw_balanced(rng, instances_of(split), sizes.inputs)
    labels = list(called.values())
    return make_task(rng, name, describe, instances, instances_of("train"), labels, group=group)


def rename(tools: Sequence[Tool], rng: random.Random, taken: frozenset[str]) -> list[str]:
    """New names, all in one style: words in another order and spelling, the domain of a skill, or bare codes."""
    style = rng.choice(("turned", "skill", "code"))
    names: list[str] = []
    for tool in tools:
        words = re.findall(r"[a-z0-9]+", humanize(tool.name)) or ["tool"]
        if style == "turned":
            name = "-".join([*reversed(words), "v2"])
        elif style == "skill":
            name = "skill_" + "".join(word.capitalize() for word in words)
        else:
            name = f"fn{rng.randrange(10, 100)}"
        while name in names or name in taken:
            name += rng.choice("abcdefgh")
        names.append(name)
    return names
