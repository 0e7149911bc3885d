"""What can go wrong in a benchmark.

BenchmarkError          a figure cannot be measured, or the document of figures is not one
└── HungUpError         the server closed a connection
"""


class BenchmarkError(Exception):
    """No figure can be given; the message is for the person who asked for it."""


class HungUpError(BenchmarkError):
    """The server closed the connection, idle or in the middle of an answer."""
