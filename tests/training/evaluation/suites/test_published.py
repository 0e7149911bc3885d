"""Which published tasks are near to training, and which are not."""

from pathlib import Path

from training.data.corpus import split_of
from training.data.families.instructions import is_seen, load_described_tasks
from training.evaluation.suites import Suite
from training.evaluation.suites.published import SOURCES


def test_near_and_far_published_tasks_are_distinguished(suite_data: Path, suites: dict[str, Suite]) -> None:
    siblings = {task.name for task in suites["tasks-sibling"].tasks}
    assert {"instructions/task1508_wordnet_antonyms", "classify/duplicate-questions"} <= siblings
    unseen = {task.name for task in suites["tasks-unseen"].tasks}
    assert "classify/inference-mnli" in unseen
    held_out = {task.name for task in load_described_tasks(suite_data) if not is_seen(task)}
    for name in siblings | unseen:
        if name.startswith("instructions/"):
            assert name.removeprefix("instructions/") in held_out
            assert split_of(f"task/{name.removeprefix('instructions/')}") == "test"


def test_tables_name_held_out_tasks_only() -> None:
    """A task that training draws is never scored as a sibling."""
    assert not SOURCES.same_task.keys() & SOURCES.siblings.keys()
    for name in [*SOURCES.same_task, *SOURCES.siblings]:
        assert split_of(f"task/{name}") != "train", name
