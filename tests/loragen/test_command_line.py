"""`--version` of both programs."""

from pathlib import Path

import pytest

from loragen.version import package_version
from tests.loragen.programs import PROGRAMS, run


@pytest.mark.parametrize("package", PROGRAMS)
def test_version_needs_no_extra(root: Path, package: str) -> None:
    assert run(root, package, "--version").stdout.strip() == package_version()
