"""`python -m edge_runtime` runs a device, and ends on SIGTERM from its first moment on."""

import runpy
import signal
import sys

import pytest


def test_module_is_the_command_run_and_ends_on_sigterm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edge_runtime", "--help"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("edge_runtime", run_name="__main__")
        assert ended.value.code == 0
        assert " run " in capsys.readouterr().out
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGTERM)
        assert ended.value.code == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
