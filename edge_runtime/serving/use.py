"""Values: what requests had a model do since the start. What follows from it is decided by `updates.merge_choice`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Use:
    """What requests had one model do.

    Attributes:
        requests: How many there were; those that are being answered count.
        read_tokens: Of their prompts, those that were in no cache.
        written_tokens: Of their answers.
    """

    requests: int = 0
    read_tokens: int = 0
    written_tokens: int = 0
