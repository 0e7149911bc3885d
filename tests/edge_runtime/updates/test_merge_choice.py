"""Which specializations are merged, and what is said of the others, without any device."""

from collections.abc import Mapping

import pytest

from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge_policy import MergePolicy, ServingMode
from edge_runtime.serving.use import Use
from edge_runtime.updates.merge_choice import choose_merge, needs_merge, why_attached
from edge_runtime.updates.state import Entry, Installed, MergeSummary

MERGED = MergeSummary(Quantization.Q8_0, "requested", 1.0, 1.0, 1.0)


def entries_of(merged: str, adapters: str) -> dict[str, Entry]:
    entries = {name: Entry(Installed("1" * 64, "merged", 1, 1, MERGED)) for name in merged}
    return entries | {name: Entry(Installed("2" * 64, "adapter", 1, 1)) for name in adapters}


def policy(most: int, mode: ServingMode = ServingMode.AUTO) -> MergePolicy:
    return MergePolicy(mode, most, "the memory for models, 500 MB")


def chosen(entries: Mapping[str, Entry], of: MergePolicy, uses: Mapping[str, Use]) -> str | None:
    return choose_merge(entries, list(entries), Quantization.Q8_0, of, uses)


@pytest.mark.parametrize("mode", [ServingMode.AUTO, ServingMode.MERGED])
@pytest.mark.parametrize(
    ("merged", "adapters", "max_merged", "requests", "expected"),
    [
        ("", "ab", 8, {}, "a"),
        ("", "ab", 8, {"b": 3}, "b"),
        ("a", "bc", 2, {}, None),
        ("a", "bc", 2, {"c": 1}, "c"),
        ("ab", "c", 2, {"c": 99}, None),
        ("", "ab", 0, {"a": 9}, None),
    ],
)
def test_what_is_asked_most_is_merged_as_long_as_there_is_room(
    mode: ServingMode, merged: str, adapters: str, max_merged: int, requests: dict[str, int], expected: str | None
) -> None:
    entries = entries_of(merged, adapters)
    uses = {name: Use(count) for name, count in requests.items()}
    found = chosen(entries, policy(max_merged, mode), uses)
    assert found == expected
    # What is not merged now, and is none of those that wait for their turn, has a reason.
    assert expected is not None or set(why_attached(entries, policy(max_merged, mode), uses)) == set(adapters)


USES = {"writer": Use(9, 100, 1_900), "reader": Use(2, 400, 20), "both": Use(5, 200, 150)}


@pytest.mark.parametrize(
    ("mode", "most", "expected"),
    [
        (ServingMode.AUTO, 8, ["reader", "both"]),
        (ServingMode.AUTO, 1, ["reader"]),
        (ServingMode.MERGED, 8, ["writer", "both", "reader"]),
        (ServingMode.ATTACHED, 0, []),
    ],
)
def test_mode_auto_merges_what_reads_most_and_leaves_what_writes(
    mode: ServingMode, most: int, expected: list[str]
) -> None:
    """By the figures in docs/quantization.md: a merged model reads 1.4 times as fast, and writes no faster."""
    entries = {name: Entry(Installed("2" * 64, "adapter", 1, 1)) for name in USES}
    found = []
    while (name := chosen(entries, policy(most, mode), USES)) is not None:
        found.append(name)
        entries[name] = Entry(Installed("2" * 64, "merged", 1, 1, MERGED))
    assert found == expected


def test_reason_names_the_figures_that_decide() -> None:
    entries = {name: Entry(Installed("2" * 64, "adapter", 1, 1)) for name in USES}
    found = why_attached(entries, policy(8), USES)
    assert set(found) == {"writer"}
    assert "wrote 1900 tokens and read 100" in found["writer"]
    none = why_attached(entries, policy(0), USES)
    assert "none is merged, by the memory for models, 500 MB" in none["reader"]
    assert "until it is asked: of 3 at most 2" in why_attached(entries, policy(2), {})["reader"]
    full = why_attached(entries_of("a", "b"), policy(1), USES)
    assert set(full) == {"b"}
    assert "at most 1 are merged, by the memory for models, 500 MB" in full["b"]


def test_merge_of_another_type_takes_no_more_room() -> None:
    entries, uses = entries_of("a", "b"), {"b": Use(5)}
    assert choose_merge(entries, ["a", "b"], Quantization.Q4_0, policy(1), uses) == "a"
    assert choose_merge(entries, ["b"], Quantization.Q4_0, policy(1), uses) is None


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        (Installed("1" * 64, "adapter", 1, 1), True),
        (Installed("1" * 64, "adapter", 1, 1, merge_refused=True), False),
        (Installed("1" * 64, "merged", 1, 1), True),
        (Installed("1" * 64, "merged", 1, 1, MergeSummary(Quantization.Q4_K, "requested", 1.0, 1.0, 1.0)), False),
        (Installed("1" * 64, "merged", 1, 1, MergeSummary(Quantization.Q8_0, "requested", 1.0, 1.0, 1.0)), True),
    ],
)
def test_adapters_and_merges_of_another_type_are_to_be_merged(installed: Installed, expected: bool) -> None:
    assert needs_merge(installed, Quantization.Q4_K) is expected
