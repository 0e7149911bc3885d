"""The command line's `jobs`, and how `generate --refine` waits for its own; they talk to a running service."""

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cloud_service.commands.options import DEFAULT_URL, AsJson, AsJsonLines, Url
from loragen import CloudClient
from loragen.cloud_answers import Generated, Job, Refinement
from loragen.error_lines import reporting_errors

jobs_app = typer.Typer(no_args_is_help=True, help="See and end what a service does in the background.")


@jobs_app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, help="Most jobs.")] = 100,
    as_json: AsJsonLines = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List the jobs of a running service, the most recent first."""
    with reporting_errors(), CloudClient(url) as cloud:
        page = cloud.jobs()
        found = [*page.jobs]
        while page.next_before is not None and len(found) < limit:
            page = cloud.jobs(page.next_before)
            found += page.jobs
    for job in found[:limit]:
        if as_json:
            typer.echo(job.model_dump_json())
            continue
        typer.echo(f"{job.id}  {job.state:9}  {job.progress.done}/{job.progress.total}  {job.created_at:%F %T}")


@jobs_app.command("show")
def show_job(job_id: Annotated[str, typer.Argument(help="Id of the job.")], url: Url = DEFAULT_URL) -> None:
    """Show a job as JSON, with its answer when it is done."""
    with reporting_errors(), CloudClient(url) as cloud:
        typer.echo(cloud.job(job_id).model_dump_json(indent=2))


@jobs_app.command("cancel")
def cancel_job(
    job_id: Annotated[str, typer.Argument(help="Id of the job.")], as_json: AsJson = False, url: Url = DEFAULT_URL
) -> None:
    """End a job; one that is over stays as it is."""
    with reporting_errors(), CloudClient(url) as cloud:
        job = cloud.cancel_job(job_id)
    typer.echo(job.model_dump_json(indent=2) if as_json else f"{job_id} is {job.state}")


def wait_with_bar(cloud: CloudClient, job_id: str) -> Generated:
    """The answer of a job. When the wait is interrupted, the job goes on, and the line says how to end it."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("queued", total=None)

        def show(job: Job) -> None:
            progress.update(bar, description=job.state, completed=job.progress.done, total=job.progress.total or None)

        try:
            return cloud.wait_for_job(job_id, on_progress=show)
        except KeyboardInterrupt:
            typer.echo(f"the job goes on; loragen jobs cancel {job_id} ends it", err=True)
            raise


def describe_refinement(found: Refinement) -> str:
    """What a refinement came to, in one line."""
    outcome = "kept" if found.kept else "no gain, so the one-pass LoRA stays"
    return (
        f"refined on {found.examples} examples, {found.held_out} held out: "
        f"right {found.before.right:.0%} -> {found.after.right:.0%}, "
        f"loss {found.before.loss:.3f} -> {found.after.loss:.3f}; {outcome} "
        f"({found.steps} steps, {found.seconds:.0f} s, ended by {found.stopped})"
    )
