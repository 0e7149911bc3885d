"""What differs between two contents of a channel."""

from dataclasses import dataclass

from loragen.contract.channel import Specialization


@dataclass(frozen=True, slots=True)
class VersionDifference:
    """What changes from an old version to a new one, each part sorted by name.

    Attributes:
        added: Only the new version has them.
        removed: Only the old version has them.
        changed: Both have them, with different bundles: the old entry, and the new one.
    """

    added: tuple[Specialization, ...]
    removed: tuple[Specialization, ...]
    changed: tuple[tuple[Specialization, Specialization], ...]


def find_difference(old: tuple[Specialization, ...], new: tuple[Specialization, ...]) -> VersionDifference:
    """What changes between two contents of a channel."""
    before, after = {each.name: each for each in old}, {each.name: each for each in new}
    return VersionDifference(
        tuple(each for each in new if each.name not in before),
        tuple(each for each in old if each.name not in after),
        tuple((before[each.name], each) for each in new if each.name in before and before[each.name] != each),
    )
