"""How a fleet weighs on one cloud process: virtual devices on loopback poll, report, follow a publish and a rollout.

The real service runs as a child process with a fresh embedded store. A virtual device is a name, labels, and the entity
tag and version that it has; devices share 64 connections, because one machine has not enough ports for 20,000. They
fetch channel documents and no bundles, which are immutable and which any HTTP cache serves.

- `fleet_polls_per_core_second`: polls that find nothing new, as fast as they go, by the service's own processor time.
- `fleet_bytes_per_poll`: of such a poll, both ways, with HTTP's heads.
- `fleet_reports_per_core_second`: reports of devices over gRPC, as fast as they go, by the service's processor time.
- `fleet_update_seconds`: from a publish until 99 % of the devices have it, each polling at the interval. Its baseline
  is 99 % of the interval, which nothing that waits for polls can beat.
- `fleet_halt_seconds`: from the start of a rollout to all devices, of which 2 % cannot put it to use, until it halts by
  itself at 1 %; `fleet_halt_devices` is how many devices had it then, and its baseline is the whole fleet.
- `fleet_back_seconds`: from there until 99 % of the devices have the old content again.

    python -m benchmarks.fleet [--devices 2000] [--interval 10] [--seconds 240]

Each figure is written to standard error as soon as it is there, and what there is when the time is over, to standard
output.
"""

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import httpx2

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figure, Figures, print_figures
from benchmarks.virtual_fleet import CHANNEL, SHARE, VirtualFleet
from loragen import CloudClient, LocalStack
from loragen.client import ModelPair
from loragen.client.process import free_ports
from loragen.default_pair import DEFAULT_PAIR

DEVICES = 2_000
MAX_DEVICES = 20_000
INTERVAL_SECONDS = 10.0
MOST_SECONDS = 240.0
ENTRIES = 8
HALT_PERCENT = 1.0
HALT_MIN_DEVICES = 100


def run(
    pair: Path = DEFAULT_PAIR.folder,
    devices: int = DEVICES,
    interval_seconds: float = INTERVAL_SECONDS,
    most_seconds: float = MOST_SECONDS,
    note: Callable[[str, Figure], None] = lambda name, figure: None,
) -> Figures:
    """Measure.

    Args:
        pair: Directory of the model pair that the service loads.
        devices: At most 20,000.
        interval_seconds: Between two polls of a device.
        most_seconds: For everything after the start of the service.
        note: Called with each figure as soon as it is there.

    Raises:
        BenchmarkError: A device was answered wrongly, or the time is over.
        ClientError: The service did not start, or did not answer.
    """
    if not 1 <= devices <= MAX_DEVICES:
        raise BenchmarkError(f"expected 1 to {MAX_DEVICES} devices, found {devices}")
    command = f"python -m benchmarks.fleet --devices {devices} --interval {interval_seconds:g}"
    (grpc_port,) = free_ports(1)
    settings = {"LORAGEN_CLOUD_GRPC_PORT": str(grpc_port)}
    with LocalStack(ModelPair.at(pair), device=False, cloud_settings=settings) as stack:
        tasks = [f"Sort each message into group {number}." for number in range(ENTRIES + 2)]
        bundles = [stack.cloud.generate_bundle(task).id for task in tasks]
        for number in range(ENTRIES):
            stack.cloud.publish(CHANNEL, f"task-{number}", bundles[number])
        fleet = VirtualFleet(stack.cloud, grpc_port, devices, interval_seconds)
        try:
            return asyncio.run(measure(fleet, stack.cloud, bundles[ENTRIES:], command, most_seconds, note))
        except TimeoutError as error:
            raise BenchmarkError(f"not done within {most_seconds:g} s") from error
        except grpc.aio.AioRpcError as error:
            raise BenchmarkError(f"a report was refused: {error.details()}") from error


async def measure(
    fleet: VirtualFleet,
    cloud: CloudClient,
    bundles: Sequence[str],
    command: str,
    most_seconds: float,
    note: Callable[[str, Figure], None] = lambda name, figure: None,
) -> Figures:
    """Measure with a fleet whose channel has one version.

    Args:
        fleet: Not connected yet.
        cloud: A client of its service.
        bundles: Two, which the channel does not have.
        command: Makes the figures again.
        most_seconds: For all of it.
        note: Called with each figure as soon as it is there.

    Raises:
        BenchmarkError: A device was answered wrongly.
        TimeoutError: The time is over.
    """
    count = len(fleet.devices)
    baseline = SHARE * fleet.interval_seconds
    figures: dict[str, Figure] = {}

    def found(name: str, value: float, unit: str, baseline: float | None = None) -> None:
        figures[name] = Figure.of(value, unit, command, baseline=baseline)
        note(name, figures[name])

    async with asyncio.timeout(most_seconds):
        await fleet.connect()
        await fleet.poll_all()
        used = await asyncio.to_thread(_cpu_seconds, cloud)
        moved = await fleet.poll_all() + await fleet.poll_all()
        used = await asyncio.to_thread(_cpu_seconds, cloud) - used
        found("fleet_polls_per_core_second", 2 * count / used, "polls/s")
        found("fleet_bytes_per_poll", moved / 2 / count, "bytes")
        used = await asyncio.to_thread(_cpu_seconds, cloud)
        await fleet.report_all()
        used = await asyncio.to_thread(_cpu_seconds, cloud) - used
        found("fleet_reports_per_core_second", count / used, "reports/s")
        following = asyncio.create_task(fleet.follow(bundles[1]))
        published = await asyncio.to_thread(cloud.publish, CHANNEL, "task-0", bundles[0])
        seconds = await _while_running(following, fleet.wait_for(published.version))
        found("fleet_update_seconds", seconds, "s", baseline)

        started = time.monotonic()
        rollout = await asyncio.to_thread(
            lambda: cloud.start_rollout(
                CHANNEL,
                "task-0",
                bundles[1],
                halt_failing_percent=HALT_PERCENT,
                halt_min_devices=min(HALT_MIN_DEVICES, count // 4 or 1),
            )
        )
        await _while_running(following, _wait_until_halted(cloud, rollout.version))
        reached = fleet.having(rollout.version)
        found("fleet_halt_seconds", time.monotonic() - started, "s")
        found("fleet_halt_devices", reached, "devices", count)
        seconds = await _while_running(following, fleet.wait_for(rollout.version + 1))
        found("fleet_back_seconds", seconds, "s", baseline)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await fleet.close()
    return figures


async def _while_running(following: "asyncio.Task[None]", work: Any) -> Any:
    """The outcome of some work, unless the fleet fails before."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({following, task}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await following
    return await task


async def _wait_until_halted(cloud: CloudClient, version: int) -> None:
    # The channel's version tells it, without the devices being counted for each look, as for the rollout's progress.
    while True:
        if (await asyncio.to_thread(cloud.channel, CHANNEL)).version > version:
            break
        await asyncio.sleep(0.2)
    (rollout,) = await asyncio.to_thread(cloud.rollouts, CHANNEL)
    if rollout.state != "halted":
        raise BenchmarkError(f"expected the rollout to halt, it is {rollout.state}")


def _cpu_seconds(cloud: CloudClient) -> float:
    text = httpx2.get(f"{str(cloud.url).rstrip('/')}/metrics", trust_env=False).text
    match = re.search(r"^process_cpu_seconds_total ([\d.e+]+)$", text, re.MULTILINE)
    if match is None:
        raise BenchmarkError("the service does not tell its processor time")
    return float(match[1])


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures as JSON, also those of a run that was not done in time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=Path, default=DEFAULT_PAIR.folder)
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--interval", type=float, default=INTERVAL_SECONDS)
    parser.add_argument("--seconds", type=float, default=MOST_SECONDS)
    arguments = parser.parse_args(argv)
    figures: dict[str, Figure] = {}

    def note(name: str, figure: Figure) -> None:
        figures[name] = figure
        sys.stderr.write(f"{name} {figure.value:g} {figure.unit}\n")

    try:
        run(arguments.pair, arguments.devices, arguments.interval, arguments.seconds, note)
    finally:
        print_figures(figures)


if __name__ == "__main__":
    main()
