"""Coordinator: `make demo`.

Posts each task description to the cloud service, publishes it to a channel, waits until the device serves it from
merged weights, measures base, prompted and specialized over held-out inputs through the device's HTTP API, prints a
table and writes it as JSON. Starts both services itself unless it is told where they are (`--cloud`, `--edge`).
"""

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from demo.clients import CloudClient, DeviceClient, Generated
from demo.errors import DemoError
from demo.evaluation import evaluate
from demo.report import TaskResult, render_table, store_results
from demo.services import Child, local_services, wait_until_ready
from demo.tasks import TASKS_DIRECTORY, DemoTask, load_tasks

MERGE_TIMEOUT_SECONDS = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; 0 when every task was measured, 1 with a message on standard error otherwise."""
    options = _parse(arguments)
    console = Console(stderr=False)
    start = time.monotonic()
    try:
        tasks = load_tasks(options.tasks)
        with _services(options) as (cloud_url, edge_url, children):
            console.print(f"cloud service {cloud_url}, device {edge_url}")
            with CloudClient(cloud_url) as cloud, DeviceClient(edge_url) as device:
                wait_until_ready("cloud service", cloud.is_ready, children)
                wait_until_ready("device", device.is_ready, children)
                results = _measure(tasks, cloud, device, options.channel, console)
        store_results(results, options.out)
    except DemoError as error:
        Console(stderr=True).print(f"demo failed: {error}", style="red", markup=False)
        return 1
    console.print(render_table(results))
    console.print(f"{options.out} written; {time.monotonic() - start:.0f} s in all")
    return 0


def _measure(
    tasks: Sequence[DemoTask], cloud: CloudClient, device: DeviceClient, channel: str, console: Console
) -> list[TaskResult]:
    generated = {task.name: cloud.generate(task.request, channel, task.name) for task in tasks}
    for task in tasks:
        _announce(console, task, generated[task.name])
    results = []
    with _progress(console) as progress:
        for task in tasks:
            bar = progress.add_task(task.name, total=task.ways * len(task.cases))
            answer = generated[task.name]
            merged = device.wait_until_merged(task.name, answer.bundle_id, MERGE_TIMEOUT_SECONDS)
            evaluation = evaluate(task, device, _advance(progress, bar))
            results.append(TaskResult(task.name, len(task.cases), evaluation, answer, merged))
    return results


def _announce(console: Console, task: DemoTask, answer: Generated) -> None:
    cached = " (cached)" if answer.cached else ""
    console.print(
        f"{task.name}: bundle {answer.bundle_id[:12]} in {answer.generate_ms:.0f} ms{cached}", highlight=False
    )


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


def _advance(progress: Progress, bar: TaskID) -> Callable[[], None]:
    return lambda: progress.advance(bar)


@contextlib.contextmanager
def _services(options: argparse.Namespace) -> Iterator[tuple[str, str, tuple[Child, ...]]]:
    if options.cloud and options.edge:
        yield options.cloud, options.edge, ()
        return
    with local_services(options.state, options.models, options.channel) as services:
        yield services.cloud_url, services.edge_url, services.children


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__)
    parser.add_argument("--cloud", metavar="URL", help="a running cloud service; needs --edge")
    parser.add_argument("--edge", metavar="URL", help="a running device that follows the channel; needs --cloud")
    parser.add_argument("--channel", default="demo", help="channel to publish to (default: %(default)s)")
    parser.add_argument("--tasks", type=Path, default=TASKS_DIRECTORY, metavar="DIR", help="task files")
    parser.add_argument(
        "--models", type=Path, default=Path("models/nano"), metavar="DIR", help="model pair to start with"
    )
    parser.add_argument("--state", type=Path, default=Path("build/demo"), metavar="DIR", help="emptied at the start")
    parser.add_argument("--out", type=Path, default=Path("build/demo.json"), metavar="FILE", help="result as JSON")
    options = parser.parse_args(arguments)
    if bool(options.cloud) != bool(options.edge):
        parser.error("--cloud and --edge go together")
    return options


if __name__ == "__main__":
    # So that a terminated demo ends its children as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
