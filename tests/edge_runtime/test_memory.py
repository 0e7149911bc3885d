"""Limits of memory as Linux writes them, in a tree of files."""

import sys
from pathlib import Path

import pytest

from edge_runtime.memory import give_back, models_that_fit, resident_memory, usable_memory

MACHINE = 2_000_000 * 1024


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.fixture(autouse=True)
def _machine(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", "MemTotal:        2000000 kB\nMemFree: 5 kB\n")


@pytest.mark.parametrize(("limit", "expected"), [("max", MACHINE), ("1000", 1000), (str(10**12), MACHINE)])
def test_limit_of_version_2(tmp_path: Path, limit: str, expected: int) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/system.slice/edge.service\n")
    write(tmp_path, "sys/fs/cgroup/system.slice/memory.max", limit + "\n")
    write(tmp_path, "sys/fs/cgroup/system.slice/edge.service/memory.max", "max\n")
    assert usable_memory(tmp_path) == expected


def test_limit_of_version_1(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "5:memory:/docker/ab\n")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "5000\n")
    assert usable_memory(tmp_path) == 5000


def test_machine_without_control_groups_has_all_its_memory(tmp_path: Path) -> None:
    assert usable_memory(tmp_path) == MACHINE


@pytest.mark.parametrize("text", ["", "MemTotal:", "MemTotal: much kB", "\xff"])
def test_system_that_does_not_say_counts_as_a_small_one(tmp_path: Path, text: str) -> None:
    write(tmp_path, "proc/meminfo", text)
    assert usable_memory(tmp_path) == 1024**3


def test_own_memory_is_read(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/status", "Name:\tpython\nVmRSS:\t   1234 kB\n")
    assert resident_memory(tmp_path) == 1234 * 1024
    assert resident_memory(tmp_path / "none") is None
    write(tmp_path, "proc/self/status", "VmRSS: much\n")
    assert resident_memory(tmp_path) is None


@pytest.mark.parametrize(("model", "budget", "count"), [(100, 1_000, 4), (100, 399, 0), (100, 0, 0), (0, 10, 9)])
def test_models_are_counted_twice_and_the_base_is_one_of_them(model: int, budget: int, count: int) -> None:
    assert models_that_fit(model, budget) == count


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_freed_memory_is_given_back() -> None:
    """Of many pieces, with one behind them, the C library keeps what was freed."""
    pieces = [bytes(60_000) for _ in range(500)]
    last = bytes(60_000)
    before = resident_memory() or 0
    del pieces
    give_back()
    assert before - (resident_memory() or 0) > 20_000_000
    del last


def test_system_without_such_a_call_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    give_back()
