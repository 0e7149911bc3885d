"""What `loragen-edge` shows to people: lines, tables and progress bars (rich).

A module of its own, so that a device that runs does not load the library.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from edge_runtime.merge.merger import MergeReport
from edge_runtime.updates.state import DeviceState
from loragen.device_answers import DeviceStatus
from loragen.terminal_tables import print_table
from loragen.visible_text import visible


def show_line(text: str, style: str = "") -> None:
    """One line, which the terminal wraps."""
    Console().print(visible(text), markup=False, highlight=False, soft_wrap=True, style=style)


def warn(text: str) -> None:
    """A line on standard error."""
    Console(stderr=True).print(visible(text), markup=False, style="yellow")


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, to be called with the bytes written and the bytes in all."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(text, total=None)
        yield lambda written, total: progress.update(task, completed=written, total=total)


def show_attempts(attempts: Sequence[Mapping[str, Any]]) -> None:
    """What a device tried, the newest last."""
    if not attempts:
        show_line("Nothing was tried yet.")
        return
    keys = ("step", "name", "bundle_id", "outcome", "duration_seconds", "message")
    rows = []
    for attempt in attempts:
        at, seconds = str(attempt.get("at", "")), attempt.get("duration_seconds")
        step, name, bundle, outcome, _, message = (str(attempt.get(key, "")) for key in keys)
        took = f"{seconds:.1f}" if isinstance(seconds, (int, float)) else ""
        # The history has the times of UTC.
        rows.append((at.removesuffix("+00:00").replace("T", " "), step, name, bundle[:12], outcome, took, message))
    print_table(("at (UTC)", "step", "model", "bundle", "outcome", "seconds", "message"), rows)


def show_merge(output: Path, report: MergeReport) -> None:
    """What a merge made."""
    rows = (
        ("bundle", report.bundle_id),
        ("seconds", f"{report.seconds:.2f}"),
        ("size", f"{report.bytes / 1e6:.1f} MB"),
        ("retained delta", f"{report.min_retained_delta:.4f} at least, {report.mean_retained_delta:.4f} on average"),
        ("most matrices", report.main_type),
        ("touched tensors", ", ".join(_counts(report.types.values()))),
        ("strategy", report.strategy),
    )
    print_table(("", "value"), rows, title=str(output))


def show_status(status: DeviceStatus) -> None:
    """What a running device says of itself."""
    show_line(
        f"{status.device_id}: {'ready' if status.ready else status.reason}; "
        f"{status.edge_model_id} as {status.quantization}; channel {status.channel} "
        f"version {status.channel_version}, last poll {status.last_poll or 'none yet'}"
    )
    if status.trust is not None:
        show_line(f"signatures: {status.trust}")
    for message in (status.last_poll_message, status.problem):
        if message:
            show_line(message, style="yellow")
    rows = [
        (
            model.id,
            f"{model.state}, pinned" if model.pinned else model.state,
            (model.bundle_id or "")[:12],
            "" if model.retained_delta is None else f"{model.retained_delta:.4f}",
            "" if model.agreement is None else f"{model.agreement:.2f}",
            "" if model.merge_seconds is None else f"{model.merge_seconds:.2f} s",
            "yes" if model.resident else "",
            model.message,
        )
        for model in status.models
    ]
    print_table(("model", "state", "bundle", "retained delta", "agreement", "merge", "loaded", "message"), rows)


def show_state(state: DeviceState | None, problem: str) -> None:
    """What a device that does not run would serve."""
    if problem:
        show_line(problem, style="yellow")
    if state is None:
        show_line("Nothing is installed.")
        return
    rows = []
    for name, entry in sorted(state.entries.items()):
        state_text = f"{entry.active.state}, pinned" if entry.pinned else entry.active.state
        rows.append((name, state_text, entry.active.bundle_id[:12], entry.active.message))
    for name, failure in sorted(state.failures.items()):
        rows.append((name, "failed", failure.bundle_id[:12], failure.message))
    show_line(f"channel {state.channel}, version {state.channel_version}")
    print_table(("model", "state", "bundle", "message"), rows)


def _counts(values: Iterable[Any]) -> list[str]:
    listed = sorted(values)
    return [f"{listed.count(value)} x {value}" for value in dict.fromkeys(listed)]
