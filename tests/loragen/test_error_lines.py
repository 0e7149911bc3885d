"""What programs say when an extra is not installed, and how they show errors."""

from pathlib import Path

import pytest

from loragen import RemoteError
from loragen.error_lines import naming_extra, reporting_errors
from loragen.web.errors import ConfigurationError
from tests.loragen.programs import PROGRAMS, run


@pytest.mark.parametrize(("package", "extra"), [("cloud_service", "cloud"), ("edge_runtime", "edge")])
def test_command_without_its_extra_ends_with_one_line_that_names_it(root: Path, package: str, extra: str) -> None:
    done = run(root, package, PROGRAMS[package])
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"pip install 'loragen[{extra}]'" in line


def test_missing_module_of_ours_is_a_fault_and_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError), naming_extra("cloud"):
        raise ModuleNotFoundError(name="cloud_service.missing")


def test_error_of_a_service_has_its_link(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), reporting_errors():
        raise RemoteError("no room", code="full", documentation_url="http://a/errors#full")
    assert capsys.readouterr().err.splitlines() == ["error (full): no room", "see: http://a/errors#full"]


def test_terminal_obeys_nothing_that_a_service_says(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), reporting_errors():
        raise RemoteError("no\x1b[2J room", code="full", hint="\x1b]0;title\x07")
    assert capsys.readouterr().err == "error (full): no\\x1b[2J room\nhint: \\x1b]0;title\\x07\n"


def test_error_is_one_line_with_its_code_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, reporting_errors(exit_code=2):
        raise ConfigurationError("no room", "make some")
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines() == ["error (configuration_invalid): no room", "hint: make some"]
    with pytest.raises(SystemExit), reporting_errors():
        raise OSError("disk full")
    assert capsys.readouterr().err == "error: disk full\n"


def test_error_is_marked_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with pytest.raises(SystemExit), reporting_errors():
        raise OSError("disk full")
    assert capsys.readouterr().err == "\x1b[31m\x1b[1merror\x1b[0m: disk full\n"
