"""Family: open tasks of our own whose answers are a phrase, a sentence or two: summaries, questions, replies.

A model that was only ever asked for a word answers a word. Which tasks and inputs are held out, `short_tasks` says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.corpus import Split
from training.data.families.short_tasks import ShortTask, ShortTasks
from training.data.templates import checked, load_templates


@checked
@dataclass(frozen=True, slots=True)
class SentenceTemplates:
    """What `sentence_tasks.toml` holds."""

    tasks: tuple[ShortTask, ...]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), SentenceTemplates)


class SentenceTasks(ShortTasks):
    """Draws a task and inputs of it, as `ShortTasks` does."""

    name = "sentence_tasks"

    def __init__(self, split: Split = "train", tasks: Sequence[ShortTask] = TEMPLATES.tasks) -> None:
        super().__init__(split, tasks)
