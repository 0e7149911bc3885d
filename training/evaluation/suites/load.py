"""Loads every suite from the packed public data, the same in every call: near to far, `reasoning` last.

A suite is a line in `_SUITES` and a function that draws its tasks. Each suite is drawn from a random state of its own,
so leaving one out changes no other.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.data.corpus import Split, split_of
from training.data.families import Sources
from training.data.families.extract import SlotExtraction
from training.data.families.function_calls import FunctionCalls
from training.data.families.instructions import DescribedTask, is_seen
from training.data.families.tools import KnownTool, split_of_tool
from training.evaluation.suites import conflict
from training.evaluation.suites.calls import call_tasks
from training.evaluation.suites.known import classification_tasks, extraction_tasks, transformation_tasks
from training.evaluation.suites.published import SOURCES, labelled_tasks, load_labelled_sets, published_task
from training.evaluation.suites.reasoning import reasoning_tasks
from training.evaluation.suites.routing import routing_tasks
from training.evaluation.suites.tasks import Suite, SuiteSizes, SuiteTask, guessing, in_turn


@dataclass(frozen=True, slots=True)
class _Draw:
    """What the functions below draw from: one split of the data, in the given sizes."""

    sources: Sources
    split: Split
    sizes: SuiteSizes

    @property
    def kinds(self) -> Sequence[str]:
        """Kinds of fields that enough messages hold."""
        return SlotExtraction(self.sources.messages).kinds

    @property
    def held_out_tasks(self) -> list[DescribedTask]:
        """Published tasks that are scored in this split."""
        return [task for task in self.sources.tasks if split_of(f"task/{task.name}") == self.split]

    def is_scored(self, known: KnownTool) -> bool:
        """Whether a held-out tool is scored in this split."""
        return split_of_tool(known, self.sources.test_services) == self.split

    def near(self, rng: random.Random, paraphrased: bool) -> list[list[SuiteTask]]:
        """Tasks of the families, in words of training or in others."""
        sources, split, sizes = self.sources, self.split, self.sizes
        return [
            classification_tasks(rng, sources.labelled_texts, split, sizes, paraphrased),
            extraction_tasks(rng, sources.messages, self.kinds, split, sizes, paraphrased),
            transformation_tasks(rng, sources.utterances, split, sizes, paraphrased),
        ]

    def published(self, rng: random.Random, tasks: Sequence[DescribedTask]) -> list[SuiteTask]:
        """The first published tasks that have enough inputs in the split."""
        made = (published_task(rng, task, self.split, self.sizes) for task in tasks)
        return [task for task in made if task is not None][: self.sizes.tasks]

    def labelled(self, rng: random.Random, sibling: bool) -> list[SuiteTask]:
        """Labelled sets that no family reads."""
        return labelled_tasks(rng, load_labelled_sets(self.sources.folder), sibling, self.split, self.sizes)


def _tasks_seen(draw: _Draw, rng: random.Random) -> Sequence[SuiteTask]:
    shuffled = rng.sample(draw.sources.tasks, len(draw.sources.tasks))
    near = draw.near(rng, paraphrased=False)
    return in_turn(rng, [*near, draw.published(rng, [task for task in shuffled if is_seen(task)])], draw.sizes.tasks)


def _tasks_paraphrased(draw: _Draw, rng: random.Random) -> Sequence[SuiteTask]:
    near = draw.near(rng, paraphrased=True)
    repacked = [task for task in draw.held_out_tasks if task.name in SOURCES.same_task]
    return in_turn(rng, [*near, draw.published(rng, repacked)], draw.sizes.tasks)


def _tasks_sibling(draw: _Draw, rng: random.Random) -> Sequence[SuiteTask]:
    published = draw.published(rng, [task for task in draw.held_out_tasks if task.name in SOURCES.siblings])
    return in_turn(rng, [draw.labelled(rng, sibling=True), published], draw.sizes.tasks)


def _tasks_unseen(draw: _Draw, rng: random.Random) -> Sequence[SuiteTask]:
    near = SOURCES.siblings.keys() | SOURCES.same_task.keys()
    published = draw.published(rng, [task for task in draw.held_out_tasks if task.name not in near])
    return in_turn(rng, [draw.labelled(rng, sibling=False), published], draw.sizes.tasks)


def _conflict(draw: _Draw, rng: random.Random) -> Sequence[SuiteTask]:
    """Whole groups, of each kind in turn, while they fit."""
    sources, split, sizes = draw.sources, draw.split, draw.sizes
    domains = next(labelled for labelled in sources.labelled_texts if labelled.name == "domains")
    kinds = [
        conflict.request_groups(rng, sources.seen_tools, domains, split, sizes),
        conflict.extraction_groups(rng, sources.messages, draw.kinds, split, sizes),
        conflict.label_groups(rng, sources.labelled_texts, split, sizes),
        conflict.transformation_groups(rng, sources.utterances, split, sizes),
    ]
    chosen: list[SuiteTask] = []
    for row in range(max(map(len, kinds))):
        for groups in kinds:
            if row < len(groups) and len(chosen) + len(groups[row]) <= max(sizes.tasks, len(groups[row])):
                chosen += groups[row]
    return chosen


def _tools_unseen(draw: _Draw, rng: random.Random) -> Sequence[SuiteTask]:
    unseen = [known for known in draw.sources.held_out_tools if draw.is_scored(known)]
    return routing_tasks(rng, unseen, draw.split, draw.sizes)


def _tools_described(draw: _Draw, rng: random.Random) -> Sequence[SuiteTask]:
    unseen = [known for known in draw.sources.described_tools if draw.is_scored(known)]
    return routing_tasks(rng, unseen, draw.split, draw.sizes)


def _calls_unseen(draw: _Draw, rng: random.Random) -> Sequence[SuiteTask]:
    unseen = [function for function in draw.sources.functions if draw.is_scored(KnownTool(function.tool, ""))]
    return call_tasks(rng, FunctionCalls(unseen, draw.sources.bystanders), draw.split, draw.sizes)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a suite is drawn; the other fields are those of `Suite`."""

    draw: Callable[[_Draw, random.Random], Sequence[SuiteTask]]
    fixed_tasks: bool = False
    chance: Callable[[Sequence[SuiteTask]], float | None] = guessing


_SUITES: dict[str, _Kind] = {
    "tasks-seen": _Kind(_tasks_seen),
    "tasks-paraphrased": _Kind(_tasks_paraphrased),
    "conflict": _Kind(_conflict, chance=conflict.chance),
    "tools-seen": _Kind(lambda draw, rng: routing_tasks(rng, draw.sources.seen_tools, draw.split, draw.sizes)),
    "tools-unseen": _Kind(_tools_unseen),
    "tools-renamed": _Kind(lambda draw, rng: routing_tasks(rng, draw.sources.seen_tools, draw.split, draw.sizes, True)),
    "tools-described": _Kind(_tools_described),
    "calls-unseen": _Kind(_calls_unseen),
    "tasks-sibling": _Kind(_tasks_sibling),
    "tasks-unseen": _Kind(_tasks_unseen),
    "reasoning": _Kind(
        lambda draw, rng: reasoning_tasks(rng, draw.sources.folder, draw.split, draw.sizes),
        fixed_tasks=True,
    ),
}
SUITES = tuple(_SUITES)


def load_suites(data: Path, split: Split, sizes: SuiteSizes, names: Sequence[str] = SUITES) -> list[Suite]:
    """The suites of the given names, in the order of `SUITES`.

    No input is scored that training may draw, apart from case, white space and punctuation.

    Args:
        data: Folder of packed public data.
        split: `validation`, to choose settings; `test`, to report.
        sizes: How much is drawn; a smaller draw of tasks is no subset of a larger one.
        names: Which suites; the others are not drawn.
    """
    draw = _Draw(Sources(data), split, sizes)
    trained = inputs_of_training(draw.sources)
    suites = []
    for name in (name for name in SUITES if name in names):
        kind = _SUITES[name]
        # 1. Draw tasks. 2. Drop the inputs that training may draw, and tasks that have no other. 3. Name the rest.
        drawn = kind.draw(draw, random.Random(f"suite/{name}/{split}"))
        scored = [task for task in (without_inputs(task, trained) for task in drawn) if task.instances]
        tasks = _numbered(scored)
        suites.append(Suite(name, tasks, kind.fixed_tasks, kind.chance))
    return suites


def inputs_of_training(sources: Sources) -> set[str]:
    """Bare texts of every input that training may draw."""
    texts = {text for known in sources.seen_tools for text in known.utterances["train"]}
    texts |= {instance.input for by in sources.messages.values() for instance in by["train"]}
    texts |= {instance.input for task in sources.seen_tasks for instance in task.instances["train"]}
    texts |= {text for labelled in sources.labelled_texts for text, _ in labelled.texts["train"]}
    return {bare_text(text) for text in texts}


def bare_text(text: str) -> str:
    """A text's words in lower case, by which copies are known."""
    return " ".join(re.findall(r"\w+", text.lower()))


def without_inputs(task: SuiteTask, inputs: Collection[str]) -> SuiteTask:
    """A task without the instances whose inputs are among these bare texts. An input without words always stays."""
    left = [n for n, i in enumerate(task.instances) if not (bare := bare_text(i.input)) or bare not in inputs]
    choices = tuple(task.choices[n] for n in left) if task.choices else ()
    return replace(task, instances=tuple(task.instances[n] for n in left), choices=choices)


def _numbered(tasks: Sequence[SuiteTask]) -> tuple[SuiteTask, ...]:
    """A task that is asked again on other inputs gets a number, so that names are unique in a suite."""
    met: Counter[str] = Counter()
    named = []
    for task in tasks:
        met[task.name] += 1
        named.append(task if met[task.name] == 1 else replace(task, name=f"{task.name}-{met[task.name]}"))
    return tuple(named)
