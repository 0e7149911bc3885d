"""Names within a signed channel's metadata, and which runtime is old."""

import pytest

from loragen.contract.errors import FormatError
from loragen.contract.signed_channel import MINIMUM_RUNTIME_VERSION, is_runtime_old, target_path
from loragen.version import package_version


def test_path_of_a_document_is_its_digest() -> None:
    assert target_path(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.json"


@pytest.mark.parametrize(
    ("runtime", "minimum", "old"),
    [
        ("0.1.0", "0.1.0", False),
        ("0.1", "0.1.0", False),
        ("0.1.0", "0.1", False),
        ("0.9.9", "0.10.0", True),
        ("1.0.0rc1", "1.0.0", False),
        ("2", "1.9.9.9", False),
        ("0.1.0+local", "0.1.1", True),
    ],
)
def test_runtimes_are_compared_number_by_number(runtime: str, minimum: str, old: bool) -> None:
    assert is_runtime_old(runtime, minimum) is old


@pytest.mark.parametrize("version", ["", "new", "v1.0", ".1", "-1"])
def test_version_without_numbers_is_refused(version: str) -> None:
    with pytest.raises(FormatError):
        is_runtime_old("0.1.0", version)


def test_this_runtime_is_new_enough_for_what_it_writes() -> None:
    assert not is_runtime_old(package_version(), MINIMUM_RUNTIME_VERSION)
