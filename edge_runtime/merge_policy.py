"""Values: how many specializations a device merges, and what a merge is worth.

It goes by use: a merged model reads faster and writes no faster. The figures are in docs/quantization.md.
"""

from dataclasses import dataclass
from enum import StrEnum

from edge_runtime.serving.use import Use

_WRITTEN_FOR_READ = 1.4
"""Written tokens that lose what one read token gains: on one thread a merged model takes 5.2 ms for each token that it
reads, where an adapter takes 7.3, and 17.0 for each that it writes, where an adapter takes 15.5."""


_ENOUGH_TOKENS = 1_000
"""Written tokens before they count against a merge: a few requests say nothing of what is to come."""


class ServingMode(StrEnum):
    """How specializations are served."""

    AUTO = "auto"
    MERGED = "merged"
    ATTACHED = "attached"


@dataclass(frozen=True, slots=True)
class MergePolicy:
    """What the owner and the memory allow.

    Attributes:
        mode: How specializations are served.
        max_merged: Most specializations that are merged.
        limit: What sets this number, for the owner.
    """

    mode: ServingMode
    max_merged: int
    limit: str

    def __str__(self) -> str:
        if not self.max_merged:
            return f"{self.mode}: none is merged, by {self.limit}"
        which = ", those that gain most by it" if self.mode is ServingMode.AUTO else ", those that are asked most"
        return f"{self.mode}: at most {self.max_merged} are merged, by {self.limit}{which}"

    def worth(self, use: Use) -> float:
        """What a merged model would have saved so far, as the time of so many written tokens; negative for a loss.

        Weighed in mode `auto` alone, and a loss only once enough was written.
        """
        if self.mode is not ServingMode.AUTO:
            return 0.0
        worth = _WRITTEN_FOR_READ * use.read_tokens - use.written_tokens
        return worth if use.written_tokens >= _ENOUGH_TOKENS else max(0.0, worth)
