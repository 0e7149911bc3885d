"""`python -m cloud_service` is the command `serve`."""

import pytest

from tests.main_modules import verify_main_module


def test_module_is_the_command_serve_and_ends_on_sigterm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verify_main_module("cloud_service", "serve", monkeypatch, capsys)
