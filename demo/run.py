"""Coordinator: `make demo`.

Posts each task description to the cloud service, publishes it to a channel, waits until the device serves it from
merged weights, measures base, prompted and specialized over held-out inputs through the device's HTTP API, prints a
table and writes it as JSON. Starts both services itself unless it is told where they are (`--cloud`, `--edge`).
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from demo.evaluation import evaluate, ways_of
from demo.report import TaskResult, render_table, store_results
from demo.tasks import TASKS_DIRECTORY, DemoTask, TaskFileError, load_tasks
from loragen import ClientError, CloudClient, DeviceClient, LocalStack
from loragen.client import ModelPair
from loragen.default_pair import DEFAULT_PAIR
from loragen.signals import exit_on_sigterm


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when every task was measured, 1 with a message on standard error otherwise."""
    options = _parse(arguments)
    console = Console()
    start = time.monotonic()
    try:
        tasks = load_tasks(options.tasks)
        with _services(options) as (cloud, device):
            console.print(f"cloud service {cloud.url}, device {device.url}")
            results = _measure(tasks, cloud, device, options.channel, console)
    except (TaskFileError, ClientError) as error:
        Console(stderr=True).print(f"demo failed: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    store_results(results, options.out)
    console.print(render_table(results))
    console.print(f"{options.out} written; {time.monotonic() - start:.0f} s in all")
    return 0


def _measure(
    tasks: Sequence[DemoTask], cloud: CloudClient, device: DeviceClient, channel: str, console: Console
) -> list[TaskResult]:
    generated = {task.name: cloud.generate(task.request, publish=f"{channel}/{task.name}") for task in tasks}
    for name, answer in generated.items():
        how = "cached" if answer.cached else f"in {answer.timings.generate_ms:.0f} ms"
        console.print(f"{name}: bundle {answer.id[:12]} {how}", highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    results = []
    with Progress(*columns, console=console) as progress:
        for task in tasks:
            bar = progress.add_task(task.name, total=len(ways_of(task)) * len(task.cases))
            answer = generated[task.name]
            served = device.wait_until_serving(task.name, answer.id, merged=True)
            scores = evaluate(task, device, partial(progress.advance, bar))
            results.append(TaskResult(task.name, len(task.cases), scores, answer, served))
    return results


@contextmanager
def _services(options: argparse.Namespace) -> Iterator[tuple[CloudClient, DeviceClient]]:
    if options.cloud:
        with CloudClient(options.cloud) as cloud, DeviceClient(options.edge) as device:
            cloud.wait_until_ready()
            device.wait_until_ready()
            yield cloud, device
    else:
        shutil.rmtree(options.state, ignore_errors=True)
        with LocalStack(ModelPair.at(options.models), options.state, channel=options.channel) as stack:
            yield stack.cloud, stack.device


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__)
    parser.add_argument("--cloud", metavar="URL", help="a running cloud service; needs --edge")
    parser.add_argument("--edge", metavar="URL", help="a running device that follows the channel; needs --cloud")
    parser.add_argument("--channel", default="demo", help="channel to publish to (default: %(default)s)")
    parser.add_argument("--tasks", type=Path, default=TASKS_DIRECTORY, metavar="DIR", help="task files")
    parser.add_argument(
        "--models", type=Path, default=DEFAULT_PAIR.folder, metavar="DIR", help="model pair to start with"
    )
    parser.add_argument("--state", type=Path, default=Path("build/demo"), metavar="DIR", help="emptied at the start")
    parser.add_argument("--out", type=Path, default=Path("build/demo.json"), metavar="FILE", help="result as JSON")
    options = parser.parse_args(arguments)
    if bool(options.cloud) != bool(options.edge):
        parser.error("--cloud and --edge go together")
    return options


if __name__ == "__main__":
    exit_on_sigterm()
    sys.exit(main())
