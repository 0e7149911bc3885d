"""Helper: walks a tree of errors."""

from collections.abc import Iterator


def tree(error: type[Exception]) -> Iterator[type[Exception]]:
    """The class and everything below it."""
    yield error
    for child in error.__subclasses__():
        yield from tree(child)
