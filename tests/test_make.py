"""Make is the only interface, so what it offers must be findable."""

import re
import subprocess
from pathlib import Path


def test_help_lists_every_target(root: Path) -> None:
    text = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    listed = {line.split()[0] for line in text.splitlines()}
    assert listed == set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))


def test_ci_calls_make_targets_and_nothing_else(root: Path) -> None:
    lines = [line for line in (root / ".ci" / "run").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "exec </dev/null", "make check", "make test"]
