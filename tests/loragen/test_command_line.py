"""What both programs share: `--version`, completion of the shell, and output that cannot be written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loragen.version import package_version
from tests.loragen.programs import PROGRAMS, run


@pytest.mark.parametrize("package", PROGRAMS)
def test_version_needs_no_extra(root: Path, package: str) -> None:
    assert run(root, package, "--version").stdout.strip() == package_version()


@pytest.mark.parametrize("program", ["cloud_service.commands.main", "edge_runtime.cli"])
def test_output_that_finds_no_room_ends_with_a_line(program: str) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-c", f"from {program} import main; main('--version')"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: [Errno 28] No space left on device\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("program", "name", "typed", "offered"),
    [
        ("cloud_service.commands.main", "loragen", "loragen roll", "rollouts"),
        ("edge_runtime.cli", "loragen-edge", "loragen-edge roll", "rollback"),
    ],
)
def test_shell_completes_commands(program: str, name: str, typed: str, offered: str) -> None:
    code = f"import sys; sys.argv[0] = {name!r}; from {program} import main; main()"
    variable = f"_{name.upper().replace('-', '_')}_COMPLETE"
    asked = {variable: "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [offered]
