"""Routes of jobs, which requests with `Prefer: respond-async` start."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from cloud_service.jobs import JobService
from cloud_service.limits import MAX_JOBS_LISTED
from loragen.cloud_answers import Job, JobList

POLL_SECONDS = 2
"""Seconds after which clients should ask for a job again."""

_JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
_Limit = Annotated[int, Query(ge=1, le=MAX_JOBS_LISTED, description="Most jobs on a page.")]
_Before = Annotated[
    int | None, Query(ge=0, lt=2**62, description="Only jobs made before this time, in microseconds since 1970.")
]


def job_routes(jobs: JobService) -> APIRouter:
    """`/jobs`."""
    router = APIRouter(prefix="/jobs", tags=["jobs"])

    @router.get("")
    async def list_jobs(limit: _Limit = MAX_JOBS_LISTED, before: _Before = None) -> JobList:
        """Jobs of the last day, page by page."""
        return await jobs.list(limit, before)

    @router.get("/{job_id}")
    async def find_job(job_id: _JobId, response: Response) -> Job:
        """How far a job is, and what it answers when it is done."""
        job = await jobs.find(job_id)
        response.headers["cache-control"] = "no-store"
        if not job.is_over:
            response.headers["retry-after"] = str(POLL_SECONDS)
        return job

    @router.delete("/{job_id}")
    async def cancel_job(job_id: _JobId) -> Job:
        """End a job. One that is over stays as it is."""
        return await jobs.cancel(job_id)

    return router
