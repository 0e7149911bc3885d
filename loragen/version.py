"""The version of the installed package."""

from importlib.metadata import PackageNotFoundError, version

UNKNOWN_VERSION = "0+unknown"
"""What a source tree that was never installed has for a version."""


def package_version() -> str:
    """The version of `loragen`, or `UNKNOWN_VERSION`."""
    try:
        return version("loragen")
    except PackageNotFoundError:
        return UNKNOWN_VERSION
