"""Where the limits of a process are looked for."""

from pathlib import Path

from edge_runtime.control_groups import group_folders


def folders(root: Path, lines: str) -> list[str]:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(lines)
    return [str(folder.relative_to(root / "sys/fs/cgroup")) for folder in group_folders("memory", root)]


def test_group_comes_before_those_above(tmp_path: Path) -> None:
    assert folders(tmp_path, "0::/a/b\n") == ["a/b", "a", "."]


def test_version_1_has_a_mount_for_each_controller(tmp_path: Path) -> None:
    assert folders(tmp_path, "5:cpu,cpuacct:/a\n4:memory:/b\n1:name=systemd:/c\n") == ["memory/b", "memory"]


def test_lines_that_are_none_are_no_groups(tmp_path: Path) -> None:
    assert folders(tmp_path, "\nnonsense\n4:memory\n") == [".", ".", "memory"]
