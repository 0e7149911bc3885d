"""Tasks with inputs, and texts that ask for nothing, for calibrating the confidence of a generator.

Tasks come from the families: as training draws them but with inputs that it never met, and tasks, tools and labels that
it never met either. Those of the validation part calibrate, and those of the test part are measured. Unreal texts are
made from tasks, so that length and layout give nothing away: random letters, the same words in disorder, and published
prose that asks for nothing.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloud_service.task import Example, TaskDescription, Tool, render_prompt
from training.data.corpus import read_paragraphs, split_of
from training.data.episodes import Episode, Family, Mixture
from training.data.families import Sources, ToolShares, load_mixture
from training.data.families.classify import Classification
from training.data.families.instructions import PublishedInstructions
from training.data.families.label_tasks import LabelTasks
from training.data.families.sentence_tasks import SentenceTasks
from training.data.families.short_tasks import ShortTasks
from training.data.families.tools import ToolRouting, split_of_tool
from training.data.families.yes_no import YesNoQuestions
from training.data.gibberish import gibberish_text

Part = Literal["validation", "test"]
Kind = Literal["open", "closed"]

UNREAL = ("gibberish", "shuffled", "prose")
FEWEST_WORDS = 5  # fewer in disorder may still say what they said
FLAT_SHARE = 0.5
PROSE = ("openstax_ccby", "gutenberg")
PARAGRAPHS = 4000
SHARES = {"trained": 0.4, "short_tasks": 0.25, "sentence_tasks": 0.15, "instructions": 0.2}
"""Of the open tasks: as training draws them, on other inputs, and two kinds whose descriptions it never saw."""

MOST_TOOLS = (10, 40)
"""Tools of the largest set, of the usual sets and of large ones."""


@dataclass(frozen=True, slots=True)
class Descriptions:
    """Where tasks and texts of one part come from.

    Attributes:
        open: Draws tasks as training does, and unseen ones.
        closed: Draws closed sets: of tools that training never met, of labels, and of answers to yes/no questions.
        paragraphs: Prose that no other part holds.
    """

    part: Part
    open: Mixture
    closed: Mixture
    paragraphs: tuple[str, ...]

    def draw(self, rng: random.Random, kind: Kind, inputs: int) -> Episode:
        """A task with inputs. An open one may yet name a closed set, as training's do, and the other way round."""
        return (self.open if kind == "open" else self.closed).draw(rng, self.part, inputs)

    def draw_unreal(self, rng: random.Random, kind: str) -> str:
        """A prompt that asks for nothing that can be followed; half of them keep the layout of a real one.

        Raises:
            ValueError: The kind is not one of `UNREAL`.
        """
        if kind not in UNREAL:
            raise ValueError(f"kind is {kind!r}, expected one of {', '.join(UNREAL)}")
        task = self.draw(rng, "open", 1).task
        if kind == "shuffled":
            while len(render_prompt(task).split()) < FEWEST_WORDS:
                task = self.draw(rng, "open", 1).task
            return prompt_in_disorder(rng, render_prompt(task))
        write = self._prose if kind == "prose" else gibberish_text
        if rng.random() < FLAT_SHARE:
            return write(rng, len(render_prompt(task)))
        return render_prompt(rewritten(task, lambda text: write(rng, len(text))))

    def _prose(self, rng: random.Random, characters: int) -> str:
        text = rng.choice(self.paragraphs)
        while len(text) < characters:
            text += " " + rng.choice(self.paragraphs)
        end = text.rfind(". ", 0, characters + 1)
        return text[: end + 1] if end > characters / 2 else text[: max(characters, 8)].rsplit(" ", 1)[0]


def load_descriptions(data: Path, families: Mapping[str, float] | None = None) -> dict[Part, Descriptions]:
    """Tasks and texts of both parts; a family for which the data hold nothing is left out.

    Args:
        data: Folder of packed public data.
        families: How often training draws each family, by its name; None for the usual mixture.

    Raises:
        FamilyWeightError: A name is unknown, or a weight is not one.
    """
    sources = Sources(data)
    trained = load_mixture(sources, weights=families)
    return {
        part: Descriptions(part, _open(sources, trained, part), _closed(sources, part), paragraphs)
        for part, paragraphs in _paragraphs(data).items()
    }


def _open(sources: Sources, trained: Mixture, part: Part) -> Mixture:
    unseen = [task for task in sources.tasks if split_of(f"task/{task.name}") == part]
    families: dict[str, Family] = {
        "trained": trained,
        "short_tasks": ShortTasks(part),
        "sentence_tasks": SentenceTasks(part),
    }
    if unseen:
        families["instructions"] = PublishedInstructions(unseen)
    return Mixture("open", tuple(families.values()), tuple(SHARES[name] for name in families))


def _closed(sources: Sources, part: Part) -> Mixture:
    """Tools, own label tasks and published texts alike; of the tools' names half are new, and every request has one."""
    tools, described = (
        [known for known in pool if split_of_tool(known, sources.test_services) == part]
        for pool in (sources.tools, sources.described_tools)
    )
    texts = sources.labelled_texts
    families: list[Family] = [LabelTasks(part), Classification(texts), YesNoQuestions(texts)]
    weights = [1.0, 0.5, 0.5]
    if tools:
        families += [ToolRouting(tools, described, ToolShares(foreign=0.0), most) for most in MOST_TOOLS]
        weights += [0.5] * len(MOST_TOOLS)
    return Mixture("closed", families, weights)


def rewritten(task: TaskDescription, write: Callable[[str], str]) -> TaskDescription:
    """The task with every text replaced by what `write` makes of it; empty ones stay empty, names stay one word."""

    def again(text: str) -> str:
        return write(text) if text else ""

    def name(text: str) -> str:
        return "_".join(re.findall(r"\w+", write(text))) or "x"

    return TaskDescription(
        again(task.description),
        tuple(Example(again(e.input), again(e.output)) for e in task.examples),
        tuple(Tool(name(t.name), again(t.description), tuple(map(name, t.parameters))) for t in task.tools),
        again(task.output_format),
    )


def prompt_in_disorder(rng: random.Random, prompt: str) -> str:
    """All words of a prompt in another order, the white space where it was."""
    words: Iterator[str] = iter(rng.sample(prompt.split(), len(prompt.split())))
    return re.sub(r"\S+", lambda _: next(words), prompt)


def _paragraphs(data: Path) -> dict[Part, tuple[str, ...]]:
    found: dict[Part, list[str]] = {"validation": [], "test": []}
    for name in PROSE:
        count = 0
        for paragraph in read_paragraphs(data / f"text/{name}.txt.zst"):
            split = split_of(paragraph)
            if split != "train":
                found[split].append(paragraph)
                count += 1
            if count >= PARAGRAPHS:
                break
    return {part: tuple(texts) for part, texts in found.items()}
