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
    merged = {name for name, entry in entries.items() if entry.active.state == "merged"}
    waiting = set(entries) - merged - set(why_attached(entries, policy, uses))
    # One that was merged as another type takes no place that it does not have.
    may_merge = waiting | merged if policy.max_merged else waiting

    def rank(name: str) -> tuple[float, int]:
        use = uses.get(name, _UNUSED)
        return policy.worth(use), use.requests

    candidates = [name for name in due if name in may_merge and needs_merge(entries[name].active, quantization)]
    return max(candidates, key=rank, default=None)


def why_attached(entries: Mapping[str, Entry], policy: MergePolicy, uses: Mapping[str, Use]) -> Mapping[str, str]:
    """Why the run-time adapters that will not be merged now are not, for the owner."""
    adapters = [name for name, entry in entries.items() if entry.active.state == "adapter"]
    if len(entries) - len(adapters) >= policy.max_merged:
        return dict.fromkeys(adapters, f"stays a run-time adapter: {policy}")
    reasons = {}
    for name in adapters:
        use = uses.get(name, _UNUSED)
        if policy.worth(use) < 0:
            reasons[name] = (
                f"stays a run-time adapter: it wrote {use.written_tokens} tokens and read {use.read_tokens}, and a "
                "merged model is faster in reading alone"
            )
        elif len(entries) > policy.max_merged and not use.requests:
            most = policy.max_merged
            reasons[name] = f"a run-time adapter until it is asked: of {len(entries)} at most {most} are merged"
    return reasons
