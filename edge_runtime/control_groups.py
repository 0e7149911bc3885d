"""The control groups of this process, version 1 or 2: where a container or a service manager limits what it may use."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def group_folders(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """The folders of the process's control groups and of those above them, for one controller, as `cpu` or `memory`.

    Args:
        controller: Whose limits are looked for.
        root: Where `proc` and `sys` are.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return
    mounts = root / "sys/fs/cgroup"
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            yield from _with_those_above(mounts, group)
        elif controller in controllers.split(","):
            for mount in sorted({controller, controllers}):
                yield from _with_those_above(mounts / mount, group)


def _with_those_above(mount: Path, group: str) -> Iterator[Path]:
    # In a container the group's own path may not be there; then the mount itself is the container's group.
    path = PurePosixPath(group.lstrip("/"))
    for part in (path, *path.parents):
        yield mount / part
