"""What Linux says of this process's memory."""

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.memory import status_bytes


def test_peak_is_at_least_what_is_resident_now() -> None:
    assert status_bytes("VmHWM") >= status_bytes("RssAnon") > 1_000_000


def test_line_that_is_not_there_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match="NoSuchLine"):
        status_bytes("NoSuchLine")
