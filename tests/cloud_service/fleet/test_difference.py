"""What differs between two contents of a channel."""

from cloud_service.fleet.difference import find_difference
from loragen.contract.channel import Specialization


def test_difference_tells_added_removed_and_changed() -> None:
    def entry(name: str, bundle: str) -> Specialization:
        return Specialization(name, bundle * 64, 1, "tiny", "d" * 64, None)

    old = (entry("gone", "1"), entry("new-bundle", "1"), entry("same", "1"))
    new = (entry("new", "1"), entry("new-bundle", "2"), entry("same", "1"))
    found = find_difference(old, new)
    assert [each.name for each in found.added] == ["new"]
    assert [each.name for each in found.removed] == ["gone"]
    assert [(one.bundle_id, other.bundle_id) for one, other in found.changed] == [("1" * 64, "2" * 64)]
