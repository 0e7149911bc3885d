"""The process of a device: its settings, its log, its traces, and what it needs of the processor.

Rule: it takes no command line, so that `python -m edge_runtime` needs no library for one.
"""

from edge_runtime.lean import without  # noqa: I001 - before what it is for

import asyncio
from pathlib import Path

from edge_runtime.config import EdgeSettings
from edge_runtime.gguf.base_gguf import find_base_gguf
from edge_runtime.processor_features import missing_features, verify_processor
from edge_runtime.updates.canary import ProcessCanary
from loragen.error_lines import reporting_errors
from loragen.web.logs import configure_logging
from loragen.web.server import end_process
from loragen.web.tracing import exporting_traces


def run_process(config: Path | None = None) -> None:
    """Be a device until SIGTERM or SIGINT; an error that stops it is one line, and exit status 1.

    Args:
        config: File of settings.
    """
    # FastAPI looks for models of pydantic 1 among ours, and would load it for that.
    with reporting_errors(), without("pydantic.v1"):
        settings = EdgeSettings.load(config)
        configure_logging(settings.log_level, settings.log_format, ("llama_cpp",))
        if missing := missing_features():
            canary = ProcessCanary(settings.effective_threads)
            asyncio.run(verify_processor(canary, find_base_gguf(settings.base_model), missing))
        # Only now: a processor that lacks something is reported before anything else is loaded.
        from edge_runtime.bootstrap import run

        with exporting_traces("loragen-edge"):
            asyncio.run(run(settings))
    end_process()
