"""What a merge is worth, by what requests had a model do."""

import pytest

from edge_runtime.merge_policy import MergePolicy, ServingMode
from edge_runtime.serving.use import Use


@pytest.mark.parametrize(
    ("read", "written", "sign"),
    [(0, 0, 0), (100, 8, 1), (1_000, 1_399, 1), (1_000, 1_401, -1), (0, 999, 0), (0, 1_000, -1)],
)
def test_merge_is_worth_it_while_little_is_written_for_what_is_read(read: int, written: int, sign: int) -> None:
    worth = MergePolicy(ServingMode.AUTO, 8, "a setting").worth(Use(1, read, written))
    assert (worth > 0) - (worth < 0) == sign
    assert MergePolicy(ServingMode.MERGED, 8, "a setting").worth(Use(1, read, written)) == 0


def test_policy_says_what_decides() -> None:
    assert str(MergePolicy(ServingMode.AUTO, 2, "memory")) == (
        "auto: at most 2 are merged, by memory, those that gain most by it"
    )
    assert str(MergePolicy(ServingMode.MERGED, 2, "memory")) == (
        "merged: at most 2 are merged, by memory, those that are asked most"
    )
    assert str(MergePolicy(ServingMode.ATTACHED, 0, "a setting")) == "attached: none is merged, by a setting"
