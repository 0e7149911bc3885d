"""Suite `conflict`: groups of tasks on the same inputs, in words that training draws, with different answers.

The input alone cannot tell the task, so an edge model that ignores its description cannot be right for more than one of
a group: `chance` says how often the best such model is. The *mismatched* description is one of the same group here,
which is the hardest control. Inputs come from the split that is scored; training met such conflicts on other inputs.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from training.data.corpus import Split
from training.data.episodes import Instance
from training.data.families.classify import LabelledTexts
from training.data.families.tools import KnownTool
from training.data.families.transform import TRANSFORMATIONS
from training.evaluation.suites.known import (
    CODES,
    classification_task,
    extraction_task,
    short_texts,
    transformation_task,
)
from training.evaluation.suites.routing import routing_task
from training.evaluation.suites.tasks import MOST_PRACTICE, SuiteSizes, SuiteTask

FUNCTIONS_OF_A_GROUP = 4
MESSAGES_OF_A_GROUP = 6
TOOLS_OF_A_GROUP = 6


def chance(tasks: Sequence[SuiteTask]) -> float | None:
    """What answering without the description can give: for each input, the answer that most tasks of its group share.

    Args:
        tasks: Whole groups; each task of a group has the same inputs in the same order.
    """
    groups: dict[str, list[SuiteTask]] = defaultdict(list)
    for task in tasks:
        groups[task.group].append(task)
    shares = []
    for group in groups.values():
        answers = zip(*([instance.output for instance in task.instances] for task in group), strict=True)
        best = [max(Counter(asked).values()) / len(group) for asked in answers]
        shares += [sum(best) / len(best)] * len(group)
    return sum(shares) / len(shares) if shares else None


def transformation_groups(
    rng: random.Random, texts: dict[Split, list[str]], split: Split, sizes: SuiteSizes
) -> list[list[SuiteTask]]:
    """Functions of the same short texts, each function in one group."""
    functions = rng.sample(TRANSFORMATIONS, len(TRANSFORMATIONS))
    groups = []
    for start in range(0, len(functions) - FUNCTIONS_OF_A_GROUP + 1, FUNCTIONS_OF_A_GROUP):
        asked = short_texts(rng, texts[split], sizes.inputs)
        practice = short_texts(rng, texts["train"], MOST_PRACTICE)
        members = functions[start : start + FUNCTIONS_OF_A_GROUP]
        name = f"transform-{start}"
        groups.append([transformation_task(rng, f, asked, practice, group=name) for f in members])
    return groups


def extraction_groups(
    rng: random.Random,
    messages: dict[str, dict[Split, list[Instance]]],
    kinds: Sequence[str],
    split: Split,
    sizes: SuiteSizes,
) -> list[list[SuiteTask]]:
    """Fields of the same messages, for the pairs of kinds that most messages hold."""
    values = {kind: {i.input: i.output for i in messages[kind][split]} for kind in kinds}
    pairs = [(a, b, sorted(values[a].keys() & values[b].keys())) for n, a in enumerate(kinds) for b in kinds[n + 1 :]]
    pairs = [(a, b, [t for t in texts if values[a][t] != values[b][t]]) for a, b, texts in pairs]
    pairs = [pair for pair in pairs if len(pair[2]) >= min(sizes.inputs, MESSAGES_OF_A_GROUP)]
    groups = []
    for a, b, texts in sorted(pairs, key=lambda pair: -len(pair[2])):
        asked = rng.sample(texts, min(len(texts), sizes.inputs))
        members = []
        for kind in (a, b):
            instances = [Instance(text, values[kind][text]) for text in asked]
            practice = messages[kind]["train"]
            members.append(extraction_task(rng, kind, instances, practice, group=f"extract-{a}-{b}"))
        groups.append(members)
    return groups


def label_groups(
    rng: random.Random, data_sets: Sequence[LabelledTexts], split: Split, sizes: SuiteSizes
) -> list[list[SuiteTask]]:
    """The same texts under a naming of the classes and under two codes that disagree on every class."""
    groups = []
    for data in data_sets:
        names = rng.choice(data.kind.names)
        classes = sorted(rng.sample(range(len(names)), min(len(names), 4)))
        pool = [(text, number) for text, number in data.texts[split] if number in classes]
        asked = rng.sample(pool, min(len(pool), sizes.inputs))
        named = {number: names[number] for number in classes}
        codes = rng.sample(CODES[: len(classes)], len(classes))
        group = f"labels-{data.name}"
        members = [classification_task(rng, data, named, split, sizes, texts=asked, group=group)]
        for turned in (codes, codes[1:] + codes[:1]):
            coded = dict(zip(classes, turned, strict=True))
            legend = " " + " ".join(f"{coded[number]} means {names[number]}." for number in classes)
            members.append(classification_task(rng, data, coded, split, sizes, legend=legend, texts=asked, group=group))
        groups.append(members)
    return groups


def request_groups(
    rng: random.Random,
    tools: Sequence[KnownTool],
    domains: LabelledTexts,
    split: Split,
    sizes: SuiteSizes,
    count: int = 2,
) -> list[list[SuiteTask]]:
    """The same requests to be routed, to be put into a domain, to be counted and to be cut."""
    domain_of = dict(domains.texts[split])
    called = {known.tool.name: known for known in tools if any(t in domain_of for t in known.utterances[split])}
    functions = [f for f in TRANSFORMATIONS if f.name in ("count", "last_word")]
    groups = []
    for number in range(count):
        group = f"requests-{number}"
        chosen = rng.sample(list(called.values()), min(TOOLS_OF_A_GROUP, len(called)))
        pool = [(text, known) for known in chosen for text in known.utterances[split] if text in domain_of]
        if len(pool) < MESSAGES_OF_A_GROUP:
            break
        asked = rng.sample(pool, min(len(pool), sizes.inputs))
        texts = [text for text, _ in asked]
        present = sorted({domain_of[text] for text in texts})
        names = rng.choice(domains.kind.names)
        answers = {number: names[number] for number in present}
        routed = [Instance(text, known.tool.name) for text, known in asked]
        members = [routing_task(rng, f"route/same-{number}", chosen, split, sizes, texts=routed, group=group)]
        if len(answers) > 1:
            labelled = [(text, domain_of[text]) for text in texts]
            members.append(classification_task(rng, domains, answers, split, sizes, texts=labelled, group=group))
        practice = [text for known in chosen for text in known.utterances["train"]]
        members += [transformation_task(rng, f, texts, practice, group=group) for f in functions]
        groups.append(members)
    return groups
