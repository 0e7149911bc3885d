"""Task descriptions that a generator should follow, and texts that it should not, for calibrating its confidence.

Real ones come from the families: as training draws them, and of tasks and tools that training never met. Those of the
validation part calibrate, and those of the test part are measured. Unreal ones are made from real ones, so that length
and layout give nothing away: random letters, the same words in disorder, and published prose that asks for nothing.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cloud_service.task import Example, TaskDescription, Tool, render_prompt
from training.data.corpus import Split, read_paragraphs, split_of
from training.data.episodes import Family
from training.data.families import Sources, load_mixture
from training.data.families.instructions import PublishedInstructions
from training.data.families.tools import ToolRouting, split_of_tool
from training.data.families.transform import TextTransformation
from training.data.gibberish import gibberish_text

Part = Literal["validation", "test"]

UNREAL = ("gibberish", "shuffled", "prose")
FEWEST_WORDS = 5  # fewer in disorder may still say what they said
PLAIN_SHARE = 0.3
FLAT_SHARE = 0.5
PROSE = ("openstax_ccby", "gutenberg")
PARAGRAPHS = 4000


@dataclass(frozen=True, slots=True)
class Descriptions:
    """Where descriptions of one part come from.

    Attributes:
        families: Real ones by suite.
        paragraphs: Prose that no other part holds.
    """

    part: Part
    families: Mapping[str, Family]
    paragraphs: tuple[str, ...]

    def draw_real(self, rng: random.Random, suite: str) -> str:
        """The prompt of a real description; now and then of its description alone."""
        return render_prompt(self._draw_task(rng, suite))

    def draw_unreal(self, rng: random.Random, kind: str) -> str:
        """A prompt that asks for nothing that can be followed; half of them keep the layout of a real one.

        Raises:
            ValueError: The kind is none of `UNREAL`.
        """
        if kind not in UNREAL:
            raise ValueError(f"kind is {kind!r}, expected one of {', '.join(UNREAL)}")
        task = self._draw_task(rng, rng.choice(sorted(self.families)))
        prompt = render_prompt(task)
        if kind == "shuffled":
            while len(prompt.split()) < FEWEST_WORDS:
                prompt = self.draw_real(rng, "trained")
            return prompt_in_disorder(rng, prompt)
        write = self._prose if kind == "prose" else gibberish_text
        if rng.random() < FLAT_SHARE:
            return write(rng, len(prompt))
        return render_prompt(rewritten(task, lambda text: write(rng, len(text))))

    def _draw_task(self, rng: random.Random, suite: str) -> TaskDescription:
        split: Split = "train" if suite == "trained" else self.part
        task = self.families[suite].draw(rng, split, 1).task
        if task.description and rng.random() < PLAIN_SHARE:
            return TaskDescription(task.description) if not task.tools else replace(task, examples=(), output_format="")
        return task

    def _prose(self, rng: random.Random, characters: int) -> str:
        text = rng.choice(self.paragraphs)
        while len(text) < characters:
            text += " " + rng.choice(self.paragraphs)
        end = text.rfind(". ", 0, characters + 1)
        return text[: end + 1] if end > characters / 2 else text[: max(characters, 8)].rsplit(" ", 1)[0]


def load_descriptions(data: Path) -> dict[Part, Descriptions]:
    """Descriptions of both parts; a suite for which the data hold nothing is left out."""
    sources = Sources(data)
    mixture, paragraphs = load_mixture(sources), _paragraphs(data)
    found: dict[Part, Descriptions] = {}
    for part in ("validation", "test"):
        families: dict[str, Family] = {"trained": mixture}
        if tasks := [task for task in sources.tasks if split_of(f"task/{task.name}") == part]:
            families["tasks-unseen"] = PublishedInstructions(tasks)
        if tools := [known for known in sources.tools if split_of_tool(known, sources.test_services) == part]:
            families["tools-unseen"] = ToolRouting(tools)
        if part == "test":  # asked for in words that neither training nor calibration meets
            families["tasks-paraphrased"] = TextTransformation(
                {"test": [text for known in sources.tools for text in known.utterances["test"]]}
            )
        found[part] = Descriptions(part, families, paragraphs[part])
    return found


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
