"""Tool sets of the suites: unseen tools by split, and tools under new names."""

from pathlib import Path

from tests.training.evaluation.suites.conftest import SIZES
from training.data.corpus import SPLITS, Split
from training.data.families.tools import is_held_out, load_test_services, load_tools
from training.evaluation.suites import Suite, load_suites


def test_unseen_tools_of_validation_and_test_are_different_tools(suite_data: Path) -> None:
    services = load_test_services(suite_data)
    held_out = {known.tool.name for known in load_tools(suite_data) if is_held_out(known, services)}
    named: dict[Split, set[str]] = {}
    for split in SPLITS[1:]:
        (suite,) = load_suites(suite_data, split, SIZES, ["tools-unseen"])
        named[split] = {tool.name for task in suite.tasks for tool in task.description.tools}
        assert named[split] <= held_out
    assert not named["validation"] & named["test"]
    assert "BookTrip" in named["test"]


def test_renamed_tools_keep_their_descriptions_and_lose_their_names(suite_data: Path, suites: dict[str, Suite]) -> None:
    known = {known.tool.name: known.tool.description for known in load_tools(suite_data)}
    for task in suites["tools-renamed"].tasks:
        for tool in task.description.tools:
            assert tool.name not in known
            assert tool.description in known.values()
        names = {tool.name for tool in task.description.tools}
        assert names == set(task.choices[0])
        assert {instance.output for instance in task.instances} <= names
