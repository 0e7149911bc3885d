"""Pages of jobs: what is answered in the background, how far it is, and what came of it."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from cloud_service.http.console.browser import CONSOLE
from cloud_service.http.console.forms import Before, read_form
from cloud_service.http.console.generation_pages import show_answer
from cloud_service.http.console.pages import Pages
from cloud_service.jobs import JobService
from cloud_service.service import LoraService
from loragen.cloud_answers import Job

_JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
_JOBS = 50


def job_pages(pages: Pages, jobs: JobService, service: LoraService) -> APIRouter:
    """`/console/jobs`."""
    router = APIRouter(prefix=f"{CONSOLE}/jobs", include_in_schema=False)

    @router.get("")
    async def index(request: Request, before: Before = None) -> Response:
        listed = await jobs.list(_JOBS, before)
        values = {"jobs": listed.jobs, "before": before, "more": listed.next_before}
        return pages.page(request, "jobs.html", values)

    @router.get("/{job_id}")
    async def show(request: Request, job_id: _JobId) -> Response:
        return await _show(request, await jobs.find(job_id))

    @router.post("/{job_id}")
    async def cancel(request: Request, job_id: _JobId) -> Response:
        await read_form(request)
        job = await jobs.cancel(job_id)
        return await _show(
            request, job, "The job is cancelled." if job.state == "cancelled" else "It was over already."
        )

    async def _show(request: Request, job: Job, notice: str = "") -> Response:
        made = None if job.result is None else await show_answer(service, job.result)
        return pages.page(request, "job.html", {"job": job, "made": made}, notice=notice)

    return router
