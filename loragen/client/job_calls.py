"""The calls of the cloud service about jobs; the cloud clients have a method for each.

In the examples, `cloud` is a `CloudClient`. With an `AsyncCloudClient` the same calls are awaited.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from loragen.client.call import ApiCall, as_model, path_of
from loragen.client.cloud_calls import request_body
from loragen.client.errors import RemoteError
from loragen.cloud_answers import Generated, Job, JobList

_ACCEPTED = frozenset({202})


def start_job(
    task: str | Mapping[str, Any],
    *,
    refine: Mapping[str, float],
    publish: str | None = None,
    strict: bool = False,
    probe: Sequence[Mapping[str, str]] = (),
    edge_model: str | None = None,
    generator: str | None = None,
) -> ApiCall[Job]:
    """Let the service generate and refine a LoRA in the background. Arguments as for `generate`.

    Raises:
        RemoteError: No answer, or a refusal: `too_few_examples`, `refine_disabled`, `overloaded`, ...

    Example:
        >>> job = cloud.start_job(task, refine={"steps": 100, "budget_seconds": 300}, publish="kitchen/reviews")
        >>> answer = cloud.wait_for_job(job.id)
        >>> answer.refinement.before.right, answer.refinement.after.right
    """
    body = request_body(task, publish, strict, probe, edge_model, generator, refine)
    headers = {"accept": "application/json", "prefer": "respond-async"}
    # Two equal jobs do no harm, but they take their time twice.
    return ApiCall("POST", "/generate-lora", as_model(Job), body, headers, accepts=_ACCEPTED, repeatable=False)


def job(job_id: str) -> ApiCall[Job]:
    """How far a job is, and what it answers when it is done.

    Raises:
        RemoteError: No answer, or a refusal: `job_not_found`.

    Example:
        >>> cloud.job(job.id).progress
    """
    return ApiCall("GET", path_of("jobs", job_id), as_model(Job))


def jobs(before: int | None = None) -> ApiCall[JobList]:
    """A page of jobs, the most recent first.

    Args:
        before: The `next_before` of the page before; None for the first page.

    Example:
        >>> [job.id for job in cloud.jobs().jobs if not job.is_over]
    """
    return ApiCall("GET", "/jobs" if before is None else f"/jobs?before={before}", as_model(JobList))


def cancel_job(job_id: str) -> ApiCall[Job]:
    """End a job; one that is over stays as it is.

    Raises:
        RemoteError: No answer, or a refusal: `job_not_found`.

    Example:
        >>> cloud.cancel_job(job.id).state
    """
    return ApiCall("DELETE", path_of("jobs", job_id), as_model(Job))


def result_of(job: Job) -> Generated:
    """The answer of a job that is over.

    Raises:
        RemoteError: It failed or was cancelled.
    """
    if job.result is not None:
        return job.result
    if job.error is None:
        raise RemoteError(f"job {job.id} is {job.state}", code=job.state)
    raise RemoteError(f"job {job.id}: {job.error.message}", job.error.hint, code=job.error.code)
