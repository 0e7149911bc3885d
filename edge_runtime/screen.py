"""What `loragen-edge` shows to people: lines, tables and progress bars (rich).

A module of its own, so that a device that runs does not load the library.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from edge_runtime.merge.merger import MergeReport
from edge_runtime.updates.state import DeviceState
from loragen.device_answers import DeviceStatus


def show_line(text: str) -> None:
    """One line, which the terminal wraps."""
    Console().print(text, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """A line on standard error."""
    Console(stderr=True).print(text, markup=False, style="yellow")


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
    table = Table("at", "step", "model", "bundle", "outcome", "seconds", "message")
    for attempt in attempts:
        keys = ("at", "step", "name", "bundle_id", "outcome", "duration_seconds", "message")
        at, step, name, bundle, outcome, seconds, message = (str(attempt.get(key, "")) for key in keys)
        table.add_row(at, step, name, bundle[:12], outcome, seconds, escape(message))
    Console().print(table if attempts else "Nothing was tried yet.")


def show_merge(output: Path, report: MergeReport) -> None:
    """What a merge made."""
    table = Table("", "value", title=str(output), title_justify="left")
    table.add_row("bundle", report.bundle_id)
    table.add_row("seconds", f"{report.seconds:.2f}")
    table.add_row("size", f"{report.bytes / 1e6:.1f} MB")
    table.add_row(
        "retained delta", f"{report.min_retained_delta:.4f} at least, {report.mean_retained_delta:.4f} on average"
    )
    table.add_row("most matrices", report.main_type)
    table.add_row("touched tensors", ", ".join(_counts(report.types.values())))
    table.add_row("strategy", report.strategy)
    Console().print(table)


def show_status(status: DeviceStatus) -> None:
    """What a running device says of itself."""
    console = Console()
    console.print(
        f"{status.device_id}: {'ready' if status.ready else status.reason}; "
        f"{status.edge_model_id} as {status.quantization}; channel {status.channel} "
        f"version {status.channel_version}, last poll {status.last_poll or 'none yet'}",
        markup=False,
    )
    if status.trust is not None:
        console.print(f"signatures: {status.trust}", markup=False)
    for message in (status.last_poll_message, status.problem):
        if message:
            console.print(message, markup=False, style="yellow")
    table = Table("model", "state", "bundle", "retained delta", "agreement", "merge", "loaded", "message")
    for model in status.models:
        table.add_row(
            model.id,
            f"{model.state}, pinned" if model.pinned else model.state,
            (model.bundle_id or "")[:12],
            "" if model.retained_delta is None else f"{model.retained_delta:.4f}",
            "" if model.agreement is None else f"{model.agreement:.2f}",
            "" if model.merge_seconds is None else f"{model.merge_seconds:.2f} s",
            "yes" if model.resident else "",
            escape(model.message),
        )
    console.print(table)


def show_state(state: DeviceState | None, problem: str) -> None:
    """What a device that does not run would serve."""
    console = Console()
    if problem:
        console.print(problem, markup=False, style="yellow")
    if state is None:
        console.print("Nothing is installed.")
        return
    table = Table("model", "state", "bundle", "message")
    for name, entry in sorted(state.entries.items()):
        state_text = f"{entry.active.state}, pinned" if entry.pinned else entry.active.state
        table.add_row(name, state_text, entry.active.bundle_id[:12], escape(entry.active.message))
    for name, failure in sorted(state.failures.items()):
        table.add_row(name, "failed", failure.bundle_id[:12], escape(failure.message))
    console.print(f"channel {state.channel}, version {state.channel_version}")
    console.print(table)


def _counts(values: Iterable[Any]) -> list[str]:
    listed = sorted(values)
    return [f"{listed.count(value)} x {value}" for value in dict.fromkeys(listed)]
