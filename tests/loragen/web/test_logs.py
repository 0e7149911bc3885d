"""What the logs of both services hold, and what they never hold."""

import errno
import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog

from loragen.web.logs import LogFormat, configure_logging, describe_crash


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging is of the whole process: other tests get it back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("llama_cpp").setLevel(logging.NOTSET)
    structlog.reset_defaults()


SECRET = "swordfish"


def crash(prompt: str) -> None:
    local = prompt
    raise RuntimeError(f"cannot read {len(local)} characters")


def crashed(prompt: str) -> RuntimeError:
    try:
        crash(prompt)
    except RuntimeError as e:
        return e
    raise AssertionError


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_traceback_is_plain(log_format: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    """It shows the place of a failure and no values of local variables, from our loggers and from libraries'."""
    configure_logging("info", log_format)
    for log in (structlog.get_logger("ours"), logging.getLogger("library")):
        try:
            crash(SECRET)
        except RuntimeError:
            log.exception("it_failed")
        text = capsys.readouterr().err
        assert "it_failed" in text
        assert "in crash" in text
        assert "cannot read 9 characters" in text
        assert SECRET not in text


def test_json_record_has_event_level_time_and_bound_values(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")
    log = structlog.get_logger("ours")
    with structlog.contextvars.bound_contextvars(request_id="abc"):
        log.info("request", status=200)
        log.debug("detail")
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert record.pop("timestamp").endswith("Z")
    assert record == {"event": "request", "level": "info", "request_id": "abc", "status": 200}


@pytest.mark.parametrize("value", [float("nan"), "half \ud800", b"\xff", ValueError("odd"), {1: object}, "dëlivery"])
def test_json_line_is_written_whatever_it_has_to_say(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    structlog.get_logger("ours").info("it_happened", value=value, after=1)
    record = json.loads(capsys.readouterr().err)
    assert (record["event"], record["after"]) == ("it_happened", 1)
    if isinstance(value, str):
        assert record["value"] == value


def test_time_is_utc_to_the_microsecond(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    structlog.get_logger("ours").info("it_happened")
    written = datetime.strptime(json.loads(capsys.readouterr().err)["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs(datetime.now(UTC) - written).total_seconds() < 5


def test_libraries_are_heard_from_warnings_up_unless_named(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug", "json", libraries=["llama_cpp"])
    logging.getLogger("library").info("GET /secret")
    logging.getLogger("llama_cpp").info("loaded")
    logging.getLogger("library").warning("odd")
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert events == ["loaded", "odd"]


def test_line_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error may be a file, and its disk full."""

    class FullDisk(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stderr", FullDisk())
    configure_logging("info", "json")
    structlog.get_logger("ours").info("request")
    logging.getLogger("library").warning("odd")


def test_crash_is_described_without_its_message() -> None:
    text = describe_crash(crashed(SECRET))
    assert text.startswith("RuntimeError at test_logs.py:")
    assert "characters" not in text
    assert describe_crash(ValueError(SECRET)) == "ValueError"
