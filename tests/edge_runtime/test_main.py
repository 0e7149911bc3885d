"""`python -m edge_runtime` is the command `run`."""

import pytest

from tests.main_modules import verify_main_module


def test_module_is_the_command_run_and_ends_on_sigterm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verify_main_module("edge_runtime", "run", monkeypatch, capsys)
