"""What can go wrong in the demo.

DemoError
├── TaskFileError      a task file is not what the loader expects
├── ServiceError       a service did not start, went away or answered with an error
└── WaitError          something did not happen in time
"""


class DemoError(Exception):
    """A failure that ends the demo; its message is for the person who ran it."""


class TaskFileError(DemoError):
    """A task file is not what the loader expects."""


class ServiceError(DemoError):
    """A service did not start, went away or answered with an error."""


class WaitError(DemoError):
    """Something did not happen in time."""
