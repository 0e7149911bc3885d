"""The version of the installed package."""

from importlib.metadata import PackageNotFoundError, version


def package_version() -> str:
    """The version of `loragen`; `0+unknown` in a source tree that was never installed."""
    try:
        return version("loragen")
    except PackageNotFoundError:
        return "0+unknown"
