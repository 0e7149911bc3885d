"""Helper: runs the command line of training in this process, so that tests see its errors and its output."""

from training.__main__ import app


def run_command(*arguments: object) -> None:
    """`python -m training ARGUMENTS`; errors are raised."""
    app([str(argument) for argument in arguments], standalone_mode=False)
