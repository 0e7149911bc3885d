"""The version of the package."""

from importlib import metadata

import pytest

from loragen.version import package_version


def test_version_is_that_of_the_installed_package() -> None:
    assert package_version() == metadata.version("loragen")


def test_source_tree_that_was_never_installed_has_a_version_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("loragen.version.version", missing)
    assert package_version() == "0+unknown"
