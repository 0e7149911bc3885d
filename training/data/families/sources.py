"""Adapter: what the folder of packed data holds for families and suites; each part is read once, when asked for."""

from functools import cached_property
from pathlib import Path

from cloud_service.task import Tool
from training.data.corpus import SPLITS, Split
from training.data.episodes import Instance
from training.data.families.app_calls import load_app_functions
from training.data.families.classify import LabelledTexts, load_data_sets
from training.data.families.described import load_described_tools
from training.data.families.extract import load_messages
from training.data.families.function_calls import CalledFunction, load_functions
from training.data.families.instructions import DescribedTask, is_seen, load_described_tasks
from training.data.families.made_calls import load_made_functions
from training.data.families.questions import Question, load_questions
from training.data.families.questions import is_seen as is_seen_question
from training.data.families.tools import KnownTool, is_held_out, load_test_services, load_tools


class Sources:
    """The parts of one data folder.

    Attributes:
        folder: The folder, as `--data` names it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def test_services(self) -> frozenset[str]:
        """Names of tools that only the test split of Schema-Guided Dialogue has."""
        return load_test_services(self.folder)

    @cached_property
    def tools(self) -> list[KnownTool]:
        """Tools with real requests, seen and held out."""
        return load_tools(self.folder)

    @cached_property
    def seen_tools(self) -> list[KnownTool]:
        """Tools with real requests that training may draw."""
        return [known for known in self.tools if not is_held_out(known, self.test_services)]

    @cached_property
    def held_out_tools(self) -> list[KnownTool]:
        """Tools with real requests that training never draws."""
        return [known for known in self.tools if is_held_out(known, self.test_services)]

    @cached_property
    def described_tools(self) -> list[KnownTool]:
        """Tools with made requests; none has the name of a held-out tool."""
        taken = {known.tool.name.lower() for known in self.held_out_tools}
        return [known for known in load_described_tools(self.folder) if known.tool.name.lower() not in taken]

    @cached_property
    def seen_described_tools(self) -> list[KnownTool]:
        """Those of them that training may draw, by the same rule as tools with real requests."""
        return [known for known in self.described_tools if not is_held_out(known, self.test_services)]

    @cached_property
    def utterances(self) -> dict[Split, list[str]]:
        """Requests to the seen tools, by split."""
        return {split: [text for known in self.seen_tools for text in known.utterances[split]] for split in SPLITS}

    @cached_property
    def labelled_texts(self) -> list[LabelledTexts]:
        """Data sets of texts with a closed set of classes."""
        return load_data_sets(self.folder)

    @cached_property
    def messages(self) -> dict[str, dict[Split, list[Instance]]]:
        """Messages that hold one value of a kind of field, by kind and split."""
        return load_messages(self.folder)

    @cached_property
    def tasks(self) -> list[DescribedTask]:
        """Published tasks, seen and held out."""
        return load_described_tasks(self.folder)

    @cached_property
    def seen_tasks(self) -> list[DescribedTask]:
        """Published tasks that training may draw."""
        return [task for task in self.tasks if is_seen(task)]

    @cached_property
    def seen_questions(self) -> list[Question]:
        """Questions with a closed set of answers that training may draw."""
        return [question for question in load_questions(self.folder) if is_seen_question(question)]

    @cached_property
    def functions(self) -> list[CalledFunction]:
        """Functions that messages call with arguments, seen and held out."""
        return load_functions(self.folder)

    @cached_property
    def seen_functions(self) -> list[CalledFunction]:
        """Functions that training may draw."""
        return [f for f in self.functions if not is_held_out(KnownTool(f.tool, ""), self.test_services)]

    @cached_property
    def made_functions(self) -> list[CalledFunction]:
        """Functions with made calls that training may draw."""
        made = load_made_functions(self.folder)
        return [f for f in made if not is_held_out(KnownTool(f.tool, ""), self.test_services)]

    @cached_property
    def app_functions(self) -> list[CalledFunction]:
        """Functions as applications have them, with made calls; training may draw those of its split."""
        functions = load_app_functions(self.utterances)
        return [f for f in functions if not is_held_out(KnownTool(f.tool, ""), self.test_services)]

    @cached_property
    def bystanders(self) -> list[Tool]:
        """Tools that stand beside a function that is called; none is held out."""
        return [known.tool for known in self.described_tools if not is_held_out(known, self.test_services)]
