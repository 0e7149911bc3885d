"""Jobs: requests that are answered in the background. A job is stored, so that any replica can show and cancel it.

    queued -> running -> done | failed | cancelled

Rules:
- The replica that took a request does the work, and changes the job every few seconds while it lives. One that has not
  changed for long lost its replica, by a restart for example: whoever reads it next marks it as failed, `interrupted`.
- A job changes by compare-and-swap only. When another replica cancelled it, the next change says so, and the work ends.
- A job has a deadline, the queue included. At an orderly shutdown it fails at once, and says why; so it does when the
  key that asked for it is revoked.
- A key of a tenant sees and cancels the jobs of its tenant, the operator's those of all.

How long refinements wait and which of them run is decided by `refiner`; what a job answers, by `service`.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog
from pydantic import ValidationError

from cloud_service.access.caller import current_caller
from cloud_service.errors import (
    CloudError,
    DeadlineError,
    DrainingError,
    NotFoundError,
    OverloadedError,
    StoreUnavailableError,
)
from cloud_service.lora_request import GeneratedLora, LoraRequest
from cloud_service.refine.refiner import QueuePlace
from cloud_service.service import LoraService
from cloud_service.store import JobStore, StoredJob
from cloud_service.store.waiting import apart
from loragen.cloud_answers import Generated, Job, JobError, JobList, JobProgress
from loragen.web.logs import describe_crash

_log = structlog.get_logger(__name__)

Describe = Callable[[GeneratedLora], Generated]
"""What a client sees of an answer."""

SHOWN_EVERY_SECONDS = 1.0
"""How often progress is stored."""

ALIVE_EVERY_SECONDS = 10.0
"""How often a job is stored without progress."""

LOST_AFTER_SECONDS = 60.0
"""Longest time without a change of a job that is alive; clocks of replicas may differ by most of it."""


class _Live:
    """A job of this process: what is stored of it, and the work."""

    def __init__(self, job: Job, tenant: str) -> None:
        self.job, self.tenant, self.version = job, tenant, 1
        self.stored_progress = job.progress
        self.stored_at = time.monotonic()
        self.working: asyncio.Future[GeneratedLora] | None = None
        self.is_taken_away = False  # another replica ended it


class JobService:
    """Runs jobs, and shows them.

    Args:
        service: Answers requests.
        store: Where jobs are.
        deadline_seconds: Longest time for a job.
    """

    def __init__(self, service: LoraService, store: JobStore, *, deadline_seconds: float) -> None:
        self._service = service
        self._store = store
        self._deadline = deadline_seconds
        self._live: dict[str, _Live] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self, request: LoraRequest, describe: Describe) -> Job:
        """A job that answers a request with a refinement.

        Raises:
            InvalidRequestError: The request cannot be answered as it is.
            OverloadedError, UsageLimitError, DrainingError, StoreUnavailableError: It may be asked again later.
        """
        if self._closed:
            raise DrainingError("the service is shutting down", "ask another replica")
        place = self._service.reserve()
        try:
            info = await self._service.verify(request)
            now = datetime.now(UTC)
            job = Job(
                id=uuid.uuid4().hex,
                state="queued",
                generator=info.id,
                created_at=now,
                changed_at=now,
                deadline_at=now + timedelta(seconds=self._deadline),
                progress=JobProgress(done=0, total=0),
            )
            live = _Live(job, current_caller().tenant)
            if not await self._swap(job, 1, live.tenant):
                raise OverloadedError(
                    "as many jobs go on as are kept", "ask again later", retry_after_seconds=LOST_AFTER_SECONDS
                )
        except BaseException:
            place.give_back()
            raise
        self._live[job.id] = live
        with apart():
            task = asyncio.create_task(self._run(live, request, place, describe), name=f"job {job.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def find(self, job_id: str) -> Job:
        """A job of the caller.

        Raises:
            NotFoundError: There is none of this name, or it is another tenant's.
            StoreUnavailableError: The store does not answer.
        """
        return (await self._load(job_id))[0]

    async def list(self, limit: int, before: int | None = None) -> JobList:
        """A page of the caller's jobs, the most recent first.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        stored = await self._store.load_jobs(limit, before, current_caller().tenant)
        jobs = [job for job in map(_parsed, stored) if job is not None]
        more = stored[-1].created_at if len(stored) == limit else None
        return JobList(jobs=tuple(_as_lost(job) or job for job in jobs), next_before=more)

    async def cancel(self, job_id: str) -> Job:
        """End a job; one that is over stays as it is.

        Raises:
            NotFoundError, StoreUnavailableError: As for `find`.
        """
        while True:
            job, stored = await self._load(job_id)
            if job.is_over:
                return job
            cancelled = _changed(job, state="cancelled")
            if await self._swap(cancelled, stored.version + 1, stored.tenant):
                live = self._live.get(job_id)
                if live is not None:
                    live.is_taken_away = True
                    if live.working is not None:
                        live.working.cancel()
                return cancelled

    async def close(self) -> None:
        """Let the jobs of this process fail, and say why; what their requests ask for is not done."""
        self._closed = True
        for live in list(self._live.values()):
            if live.working is not None:
                live.working.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1)

    async def _run(self, live: _Live, request: LoraRequest, place: QueuePlace, describe: Describe) -> None:
        started = time.monotonic()
        live.working = asyncio.ensure_future(
            self._service.generate(request, place, lambda done, total: self._progressed(live, done, total))
        )
        if live.is_taken_away or self._closed:
            live.working.cancel()
        try:
            await self._attend(live, live.working, started + self._deadline)
            last = self._outcome(live, live.working, describe)
            if not live.is_taken_away and not await self._swap(last, live.version + 1, live.tenant):
                live.is_taken_away = True
            state = "cancelled" if live.is_taken_away else last.state
            code = None if last.error is None or live.is_taken_away else last.error.code
            seconds = round(time.monotonic() - started, 2)
            _log.info("job_over", job=live.job.id, state=state, code=code, seconds=seconds)
        except StoreUnavailableError:
            _log.warning("job_not_stored", job=live.job.id)  # whoever reads it next finds it lost
        finally:
            live.working.cancel()
            place.give_back()  # the work may have been cancelled before it took it
            del self._live[live.job.id]

    async def _attend(self, live: _Live, working: asyncio.Future[GeneratedLora], deadline: float) -> None:
        """Store progress and signs of life until the work is over, the deadline has passed, or the job is another's."""
        while not working.done():
            await asyncio.wait({working}, timeout=min(SHOWN_EVERY_SECONDS, max(0.0, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                return
            has_progress = live.job.progress != live.stored_progress
            if working.done() or not (has_progress or time.monotonic() - live.stored_at > ALIVE_EVERY_SECONDS):
                continue
            job = _changed(live.job)
            with suppress(StoreUnavailableError):  # it may be back when the work is over
                if not await self._swap(job, live.version + 1, live.tenant):
                    live.is_taken_away = True
                    return
                live.version += 1
                live.stored_progress, live.stored_at = job.progress, time.monotonic()

    def _outcome(self, live: _Live, working: asyncio.Future[GeneratedLora], describe: Describe) -> Job:
        if not working.done():
            return _failed(live.job, DeadlineError(f"the job was not done within {self._deadline:g} s", "ask for less"))
        if working.cancelled():
            return _failed(live.job, _INTERRUPTED)
        error = working.exception()
        if error is None:
            return _changed(live.job, state="done", result=describe(working.result()))
        if isinstance(error, DrainingError):
            return _failed(live.job, _INTERRUPTED)
        if isinstance(error, CloudError):
            return _failed(live.job, error)
        _log.error("unexpected_error", job=live.job.id, crash=describe_crash(error))
        return _failed(live.job, CloudError("internal error", "report the id of the job to the operator"))

    def _progressed(self, live: _Live, done: int, total: int) -> None:
        progress = JobProgress(done=done, total=total)
        live.job = live.job.model_copy(update={"state": "running", "progress": progress})

    async def _load(self, job_id: str) -> tuple[Job, StoredJob]:
        """A job of the caller, and what is stored of it; a lost one is stored as failed."""
        tenant = current_caller().tenant
        while True:
            stored = await self._store.load_job(job_id)
            job = None if stored is None else _parsed(stored)
            if stored is None or job is None or tenant not in ("", stored.tenant):
                raise NotFoundError(f"no job {job_id}", "jobs are kept for a day", code="job_not_found")
            lost = _as_lost(job)
            if lost is None:
                return job, stored
            if await self._swap(lost, stored.version + 1, stored.tenant):
                return lost, _stored(lost, stored.version + 1, stored.tenant)

    async def _swap(self, job: Job, version: int, tenant: str) -> bool:
        stored = _stored(job, version, tenant)
        # A store that lost the connection repeats the swap, which then finds its own version.
        return await self._store.swap_job(stored) or await self._store.load_job(job.id) == stored


_INTERRUPTED = CloudError(
    "the replica that did the work stopped before it was done", "send the request again", code="interrupted"
)


def _failed(job: Job, error: CloudError) -> Job:
    return _changed(job, state="failed", error=JobError(code=error.code, message=str(error), hint=error.hint))


def _changed(job: Job, **fields: object) -> Job:
    return job.model_copy(update={**fields, "changed_at": datetime.now(UTC)})


def _as_lost(job: Job) -> Job | None:
    """The job as failed, if nobody works on it any more."""
    is_silent = (datetime.now(UTC) - job.changed_at).total_seconds() > LOST_AFTER_SECONDS
    return _failed(job, _INTERRUPTED) if is_silent and not job.is_over else None


def _stored(job: Job, version: int, tenant: str) -> StoredJob:
    created, document = _microseconds(job.created_at), job.model_dump_json().encode()
    busy_until = 0 if job.is_over else _microseconds(job.changed_at + timedelta(seconds=LOST_AFTER_SECONDS))
    return StoredJob(job.id, version, created, document, tenant, busy_until)


def _microseconds(time: datetime) -> int:
    return round(time.timestamp() * 1e6)


def _parsed(stored: StoredJob) -> Job | None:
    try:
        return Job.model_validate_json(stored.document) if stored.document else None
    except ValidationError as e:
        # Perhaps another version of this service stored it.
        _log.warning("stored_job_unreadable", job=stored.job_id, errors=e.error_count())
        return None
