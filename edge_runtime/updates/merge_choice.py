"""Rules: which specializations are merged into models of their own, and why the others stay run-time adapters.

A merged model has a file of its own, and memory of its own; an adapter shares the base model. No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge_policy import MergePolicy
from edge_runtime.serving.use import Use
from edge_runtime.updates.state import Entry, Installed

_UNUSED = Use()


def needs_merge(installed: Installed, quantization: Quantization) -> bool:
    """Whether a bundle that serves could be merged: it is an adapter, or was merged as another type."""
    if installed.state == "adapter":
        return not installed.merge_refused
    return installed.merge is None or installed.merge.quantization is not quantization


def choose_merge(
    entries: Mapping[str, Entry],
    due: Collection[str],
    quantization: Quantization,
    policy: MergePolicy,
    uses: Mapping[str, Use],
) -> str | None:
    """The specialization to merge next: the one that gains most, or is asked most. None when none is to be merged now.

    Where there are more specializations than may be merged, one is merged only once it was asked.
    """
    merged = _merged(entries)
    # One that was merged as another type takes no place that it does not have.
    candidates = [
        name
        for name in due
        if needs_merge(entries[name].active, quantization)
        and ((name in merged and policy.max_merged) or not why_attached(name, entries, policy, uses))
    ]

    def rank(name: str) -> tuple[float, int]:
        use = uses.get(name, _UNUSED)
        return policy.worth(use), use.requests

    return max(candidates, key=rank, default=None)


def why_attached(name: str, entries: Mapping[str, Entry], policy: MergePolicy, uses: Mapping[str, Use]) -> str:
    """Why a run-time adapter is not merged, for the owner; empty when it will be."""
    use = uses.get(name, _UNUSED)
    if len(_merged(entries)) >= policy.max_merged:
        return f"stays a run-time adapter: {policy}"
    if policy.worth(use) < 0:
        return (
            f"stays a run-time adapter: it wrote {use.written_tokens} tokens and read {use.read_tokens}, and a merged "
            "model is faster in reading alone"
        )
    if len(entries) > policy.max_merged and not use.requests:
        return f"a run-time adapter until it is asked: of {len(entries)} at most {policy.max_merged} are merged"
    return ""


def _merged(entries: Mapping[str, Entry]) -> set[str]:
    return {name for name, entry in entries.items() if entry.active.state == "merged"}
