"""`--version` of both programs, and what they say where an extra is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from loragen.command_line import naming_extra, reporting_errors
from loragen.version import package_version
from loragen.web.errors import ConfigurationError

PROGRAMS = {"cloud_service": "serve", "edge_runtime": "run"}
MAIN = {"cloud_service": "cloud_service.commands.main", "edge_runtime": "edge_runtime.cli"}
FROM_EXTRAS = ("torch", "transformers", "redis", "grpc_health", "grpc_reflection", "tokenizers", "llama_cpp")


def run(root: Path, package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process that has nothing of the extras."""
    script = f"""
import sys
sys.modules.update(dict.fromkeys({FROM_EXTRAS!r}))
from {MAIN[package]} import main
main(*{arguments!r})
"""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, timeout=60)


@pytest.mark.parametrize("package", PROGRAMS)
def test_version_needs_no_extra(root: Path, package: str) -> None:
    assert run(root, package, "--version").stdout.strip() == package_version()


@pytest.mark.parametrize(("package", "extra"), [("cloud_service", "cloud"), ("edge_runtime", "edge")])
def test_command_without_its_extra_ends_with_one_line_that_names_it(root: Path, package: str, extra: str) -> None:
    done = run(root, package, PROGRAMS[package])
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"pip install 'loragen[{extra}]'" in line


def test_missing_module_of_ours_is_a_fault_and_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError), naming_extra("cloud"):
        raise ModuleNotFoundError(name="cloud_service.missing")


def test_error_is_one_line_with_its_code_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, reporting_errors(exit_code=2):
        raise ConfigurationError("no room", "make some")
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err.splitlines() == ["error (configuration_invalid): no room", "hint: make some"]
    with pytest.raises(typer.Exit), reporting_errors():
        raise OSError("disk full")
    assert capsys.readouterr().err == "error: disk full\n"
