"""Helper: `python -m PACKAGE` is a command, and ends on SIGTERM from its first moment on."""

import runpy
import signal
import sys

import pytest


def verify_main_module(
    package: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fail unless the package's `__main__` is the command, and has set a handler of SIGTERM."""
    monkeypatch.setattr(sys, "argv", [package, "--help"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(package, run_name="__main__")
        assert ended.value.code == 0
        assert f" {command} " in capsys.readouterr().out
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGTERM)
        assert ended.value.code == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
