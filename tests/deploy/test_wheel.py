"""What `pip install` brings: packages with our names, two programs, and nothing of a checkout."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> ZipFile:
    """Built offline from a copy: setuptools leaves folders in the tree that it builds."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, tree)
    for code in sorted({path.relative_to(root).parts[0] for path in root.glob("*/*.py")}):
        shutil.copytree(root / code, tree / code, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run([sys.executable, "-c", build], cwd=tree, check=True, capture_output=True)
    (path,) = (tree / "dist").glob("*.whl")
    return ZipFile(path)


def test_wheel_brings_three_packages_and_nothing_else(wheel: ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {"loragen", "cloud_service", "edge_runtime"}


def test_wheel_brings_types_and_two_programs(wheel: ZipFile) -> None:
    names = wheel.namelist()
    assert {"loragen/py.typed", "loragen/contract/stubs/loragen_pb2.pyi"} <= set(names)
    console = "cloud_service/http/console"
    assert {f"{console}/templates/base.html", f"{console}/static/style.css", f"{console}/static/console.js"} <= set(
        names
    )
    (entry_points,) = (name for name in names if name.endswith("entry_points.txt"))
    assert re.findall(r"^(\S+) =", wheel.read(entry_points).decode(), re.MULTILINE) == ["loragen", "loragen-edge"]


def test_edge_extra_asks_for_no_torch(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    asked = " ".join(project["dependencies"] + project["optional-dependencies"]["edge"])
    assert not re.search(r"\b(torch|transformers|peft|redis)\b", asked)
