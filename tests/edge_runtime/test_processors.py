"""Quotas as Linux writes them, in a tree of files."""

import os
from pathlib import Path

import pytest

from edge_runtime.processors import usable_processors

MANY = 64


@pytest.fixture(autouse=True)
def _many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(MANY)), raising=False)


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", MANY), ("200000 100000", 2), ("150000 100000", 1), ("10000 100000", 1), ("9900000 100000", MANY)],
)
def test_quota_of_version_2(tmp_path: Path, quota: str, expected: int) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/cpu.max", quota + "\n")
    assert usable_processors(tmp_path) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", MANY), ("300000", 3), ("50000", 1)])
@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_quota_of_version_1(tmp_path: Path, quota: str, expected: int, mount: str) -> None:
    """In a container whose own path is not in its mount, as docker has it."""
    write(tmp_path, "proc/self/cgroup", "5:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab\n")
    write(tmp_path, f"sys/fs/cgroup/{mount}/cpu.cfs_quota_us", quota + "\n")
    write(tmp_path, f"sys/fs/cgroup/{mount}/cpu.cfs_period_us", "100000\n")
    assert usable_processors(tmp_path) == expected


def test_smallest_quota_of_the_groups_above_counts(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/system.slice/loragen.service\n")
    write(tmp_path, "sys/fs/cgroup/system.slice/cpu.max", "200000 100000\n")
    write(tmp_path, "sys/fs/cgroup/system.slice/loragen.service/cpu.max", "max 100000\n")
    assert usable_processors(tmp_path) == 2


@pytest.mark.parametrize("text", ["", "max", "a b", "100000 0", "-5 100000", "\xff"])
def test_quota_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/\nnonsense\n")
    write(tmp_path, "sys/fs/cgroup/cpu.max", text)
    assert usable_processors(tmp_path) in (1, MANY)


def test_system_without_control_groups_has_its_affinity(tmp_path: Path) -> None:
    assert usable_processors(tmp_path) == MANY
