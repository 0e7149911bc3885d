"""Structured logs on standard error, the same for both services.

Rules: nothing that a client wrote as content (descriptions, prompts, answers) and no weight enters a log; ids, names,
sizes, times and codes do. Tracebacks are plain: they never show local variables. Code that handles a client's content
logs `describe_crash` instead of a traceback, since the message of an exception may quote what it was given.
"""

import contextlib
import json
import logging
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import structlog
from pydantic_core import PydanticSerializationError, to_json
from structlog.typing import EventDict, Processor

LogFormat = Literal["json", "console"]


class _StandardError:
    """Writes lines to standard error. A line that cannot be written, to a full disk for example, stops nothing."""

    def msg(self, line: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(line + "\n")

    log = debug = info = warning = error = critical = msg


def configure_logging(level: str, log_format: LogFormat, libraries: Sequence[str] = ()) -> None:
    """Send this process's logs, and warnings of libraries, to standard error.

    Args:
        level: Least level to write, in any case.
        log_format: One JSON object a line, or lines for people.
        libraries: Loggers of libraries that are heard from `level` up as well; all others are from warnings up.
    """
    least: int = getattr(logging, level.upper())
    renderer: Processor = (
        structlog.processors.JSONRenderer(_as_json)
        if log_format == "json"
        # structlog's default formatter of exceptions shows local variables, and prompts with them.
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_time,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: _StandardError(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Each request has its record; what libraries say of it below a warning would be the same again, with its URL.
    root.setLevel(max(logging.WARNING, least))
    for name in libraries:
        logging.getLogger(name).setLevel(least)


def _add_time(logger: Any, method: str, event: EventDict) -> EventDict:
    """As structlog's own does, in a third of the time; every request writes a line."""
    event["timestamp"] = f"{datetime.now(UTC).isoformat(timespec='microseconds')[:-6]}Z"
    return event


def _as_json(event: EventDict, **options: Any) -> str:
    try:
        return to_json(event, fallback=repr).decode()
    except (PydanticSerializationError, ValueError):  # half of a surrogate pair, or bytes that are no UTF-8
        return json.dumps(event, default=repr)


def describe_crash(error: BaseException) -> str:
    """Type and places of an exception, without its message, which may quote what a client wrote."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {places}" if places else type(error).__name__
