"""Loads every suite from the packed public data, the same in every call: near to far, `reasoning` last."""

import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

from training.data.corpus import Split, split_of
from training.data.families.classify import load_data_sets
from training.data.families.extract import SlotExtraction, load_messages
from training.data.families.instructions import DescribedTask, is_seen, load_described_tasks
from training.data.families.tools import is_held_out, load_test_services, load_tools
from training.evaluation.suites.conflict import extraction_groups, label_groups, request_groups, transformation_groups
from training.evaluation.suites.known import classification_tasks, extraction_tasks, transformation_tasks
from training.evaluation.suites.published import SAME_TASK, SIBLINGS, labelled_tasks, load_labelled_sets, published_task
from training.evaluation.suites.reasoning import reasoning_tasks
from training.evaluation.suites.routing import routing_tasks, unseen_tools
from training.evaluation.suites.tasks import Suite, SuiteSizes, SuiteTask, in_turn

SUITES = (
    "tasks-seen",
    "tasks-paraphrased",
    "conflict",
    "tools-seen",
    "tools-unseen",
    "tools-renamed",
    "tasks-sibling",
    "tasks-unseen",
    "reasoning",
)


def load_suites(data: Path, split: Split, sizes: SuiteSizes, names: Sequence[str] = SUITES) -> list[Suite]:
    """The suites of the given names, in the order of `SUITES`.

    Args:
        data: Folder of packed public data.
        split: `validation`, to choose settings; `test`, to report.
        sizes: How much is drawn; a smaller draw of tasks is no subset of a larger one.
        names: Which suites; the others are not drawn.

    An input that training draws, for whatever family and but for case, white space and punctuation, is not scored.
    """
    services = load_test_services(data)
    tools = load_tools(data)
    seen = [known for known in tools if not is_held_out(known, services)]
    held_out = [known for known in tools if is_held_out(known, services)]
    texts: dict[Split, list[str]] = {
        which: [text for known in seen for text in known.utterances[which]] for which in ("train", split)
    }
    data_sets = load_data_sets(data)
    domains = next(labelled for labelled in data_sets if labelled.name == "domains")
    messages = load_messages(data)
    kinds = SlotExtraction(messages).kinds
    published = load_described_tasks(data)
    asked = [task for task in published if split_of(f"task/{task.name}") == split]
    labelled = load_labelled_sets(data)

    def near(rng: random.Random, paraphrased: bool) -> list[list[SuiteTask]]:
        return [
            classification_tasks(rng, data_sets, split, sizes, paraphrased),
            extraction_tasks(rng, messages, kinds, split, sizes, paraphrased),
            transformation_tasks(rng, texts, split, sizes, paraphrased),
        ]

    def tasks_seen(rng: random.Random) -> Sequence[SuiteTask]:
        known = rng.sample(published, len(published))
        return in_turn(rng, [*near(rng, False), drawn(rng, [t for t in known if is_seen(t)])], sizes.tasks)

    def tasks_paraphrased(rng: random.Random) -> Sequence[SuiteTask]:
        return in_turn(rng, [*near(rng, True), drawn(rng, [t for t in asked if t.name in SAME_TASK])], sizes.tasks)

    def drawn(rng: random.Random, tasks: Sequence[DescribedTask]) -> list[SuiteTask]:
        made = (published_task(rng, task, split, sizes) for task in tasks)
        return [task for task in made if task is not None][: sizes.tasks]

    def conflict(rng: random.Random) -> Sequence[SuiteTask]:
        groups = [
            request_groups(rng, seen, domains, split, sizes),
            extraction_groups(rng, messages, kinds, split, sizes),
            label_groups(rng, data_sets, split, sizes),
            transformation_groups(rng, texts, split, sizes),
        ]
        chosen: list[SuiteTask] = []
        for row in range(max(map(len, groups))):
            for kind in groups:
                if row < len(kind) and len(chosen) + len(kind[row]) <= max(sizes.tasks, len(kind[row])):
                    chosen += kind[row]
        return chosen

    def siblings(rng: random.Random) -> Sequence[SuiteTask]:
        new = drawn(rng, [task for task in asked if task.name in SIBLINGS])
        return in_turn(rng, [labelled_tasks(rng, labelled, True, split, sizes), new], sizes.tasks)

    def unseen(rng: random.Random) -> Sequence[SuiteTask]:
        new = drawn(rng, [task for task in asked if task.name not in SIBLINGS and task.name not in SAME_TASK])
        return in_turn(rng, [labelled_tasks(rng, labelled, False, split, sizes), new], sizes.tasks)

    drawn_for_training = {bare_text(text) for known in seen for text in known.utterances["train"]}
    drawn_for_training |= {bare_text(i.input) for by in messages.values() for i in by["train"]}
    drawn_for_training |= {bare_text(i.input) for task in published if is_seen(task) for i in task.instances["train"]}
    drawn_for_training |= {bare_text(text) for labelled in data_sets for text, _ in labelled.texts["train"]}

    makers: dict[str, Callable[[random.Random], Sequence[SuiteTask]]] = {
        "tasks-seen": tasks_seen,
        "tasks-paraphrased": tasks_paraphrased,
        "conflict": conflict,
        "tools-seen": lambda rng: routing_tasks(rng, seen, split, sizes),
        "tools-unseen": lambda rng: routing_tasks(rng, unseen_tools(held_out, services, split), split, sizes),
        "tools-renamed": lambda rng: routing_tasks(rng, seen, split, sizes, renamed=True),
        "tasks-sibling": siblings,
        "tasks-unseen": unseen,
        "reasoning": lambda rng: reasoning_tasks(rng, data, split, sizes),
    }
    suites = []
    for name in SUITES:
        if name in names:
            tasks = makers[name](random.Random(f"suite/{name}/{split}"))
            kept = [without_inputs(task, drawn_for_training) for task in tasks]
            suites.append(Suite(name, _numbered([task for task in kept if task.instances]), name == "reasoning"))
    return suites


def bare_text(text: str) -> str:
    """A text's words in lower case, by which copies are known."""
    return " ".join(re.findall(r"\w+", text.lower()))


def without_inputs(task: SuiteTask, inputs: Collection[str]) -> SuiteTask:
    """A task without the instances whose inputs are among these bare texts; one of no words is none of them."""
    kept = [n for n, i in enumerate(task.instances) if not (bare := bare_text(i.input)) or bare not in inputs]
    choices = tuple(task.choices[n] for n in kept) if task.choices else ()
    return replace(task, instances=tuple(task.instances[n] for n in kept), choices=choices)


def _numbered(tasks: Sequence[SuiteTask]) -> tuple[SuiteTask, ...]:
    """A task that is asked again on other inputs gets a number, so that names are unique in a suite."""
    met: Counter[str] = Counter()
    named = []
    for task in tasks:
        met[task.name] += 1
        named.append(task if met[task.name] == 1 else replace(task, name=f"{task.name}-{met[task.name]}"))
    return tuple(named)
