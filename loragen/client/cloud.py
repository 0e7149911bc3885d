"""Clients of the cloud service. What each method takes and gives is in `cloud_calls`, `job_calls` and `fleet_calls`."""

import asyncio
import time
from collections.abc import Callable

from loragen.client import cloud_calls as calls
from loragen.client import fleet_calls as fleet
from loragen.client import job_calls
from loragen.client import key_calls as access
from loragen.client.errors import WaitError
from loragen.client.job_calls import result_of
from loragen.client.methods import sends, sends_async
from loragen.client.retries import Deadline
from loragen.client.session import AsyncSession, Session
from loragen.cloud_answers import Generated, Job

JOB_POLL_SECONDS = 1.0
"""How often a job that is waited for is asked for."""

API_KEY_VARIABLE = "LORAGEN_API_KEY"


class CloudClient(Session):
    """Generates LoRAs, fetches them and publishes them.

    Where the service asks for an API key, it is `api_key`, or by default what the variable `LORAGEN_API_KEY` says.
    A call that meets an overloaded or restarting service is repeated, as `Retry-After` asks, within its deadline.

    Example:
        >>> with CloudClient("http://127.0.0.1:8080") as cloud:
        ...     answer = cloud.generate("Say whether a review is positive or negative.", publish="kitchen/reviews")
        ...     bundle = cloud.bundle(answer.id)
    """

    _api_key_variable = API_KEY_VARIABLE

    generate = sends(calls.generate)
    start_job = sends(job_calls.start_job)
    job = sends(job_calls.job)
    jobs = sends(job_calls.jobs)
    cancel_job = sends(job_calls.cancel_job)
    generate_bundle = sends(calls.generate_bundle)
    import_adapter = sends(calls.import_adapter)
    bundle = sends(calls.bundle)
    recipe = sends(calls.recipe)
    delete_bundle = sends(calls.delete_bundle)
    delete_recipe = sends(calls.delete_recipe)
    generators = sends(calls.generators)
    download_bank = sends(calls.download_bank)
    channel = sends(calls.channel)
    publish = sends(calls.publish)
    withdraw = sends(calls.withdraw)
    channels = sends(fleet.channels)
    versions = sends(fleet.versions)
    channel_at = sends(fleet.channel_at)
    difference = sends(fleet.difference)
    roll_back = sends(fleet.roll_back)
    delete_channel = sends(fleet.delete_channel)
    events = sends(fleet.events)
    start_rollout = sends(fleet.start_rollout)
    rollouts = sends(fleet.rollouts)
    change_rollout = sends(fleet.change_rollout)
    devices = sends(fleet.devices)
    delete_device = sends(fleet.delete_device)
    create_key = sends(access.create_key)
    keys = sends(access.keys)
    rotate_key = sends(access.rotate_key)
    revoke_key = sends(access.revoke_key)
    audit = sends(access.audit)
    usage = sends(access.usage)

    def wait_for_job(
        self, job_id: str, timeout_seconds: float = 3600, on_progress: Callable[[Job], None] | None = None
    ) -> Generated:
        """The answer of a job, as soon as it is done.

        Args:
            job_id: Of `start_job`.
            timeout_seconds: Longest wait; the job goes on.
            on_progress: Called with the job each time that it was asked for.

        Raises:
            RemoteError: It failed or was cancelled, or the service does not answer.
            WaitError: It is not done after this time.
        """
        deadline = Deadline(timeout_seconds)
        while not (job := _shown(self.job(job_id), on_progress)).is_over:
            _verify_time(deadline, job)
            time.sleep(JOB_POLL_SECONDS)
        return result_of(job)


class AsyncCloudClient(AsyncSession):
    """The same as `CloudClient`, for asyncio.

    Example:
        >>> async with AsyncCloudClient("http://127.0.0.1:8080") as cloud:
        ...     answer = await cloud.generate("Say whether a review is positive or negative.")
    """

    _api_key_variable = API_KEY_VARIABLE

    generate = sends_async(calls.generate)
    start_job = sends_async(job_calls.start_job)
    job = sends_async(job_calls.job)
    jobs = sends_async(job_calls.jobs)
    cancel_job = sends_async(job_calls.cancel_job)
    generate_bundle = sends_async(calls.generate_bundle)
    import_adapter = sends_async(calls.import_adapter)
    bundle = sends_async(calls.bundle)
    recipe = sends_async(calls.recipe)
    delete_bundle = sends_async(calls.delete_bundle)
    delete_recipe = sends_async(calls.delete_recipe)
    generators = sends_async(calls.generators)
    download_bank = sends_async(calls.download_bank)
    channel = sends_async(calls.channel)
    publish = sends_async(calls.publish)
    withdraw = sends_async(calls.withdraw)
    channels = sends_async(fleet.channels)
    versions = sends_async(fleet.versions)
    channel_at = sends_async(fleet.channel_at)
    difference = sends_async(fleet.difference)
    roll_back = sends_async(fleet.roll_back)
    delete_channel = sends_async(fleet.delete_channel)
    events = sends_async(fleet.events)
    start_rollout = sends_async(fleet.start_rollout)
    rollouts = sends_async(fleet.rollouts)
    change_rollout = sends_async(fleet.change_rollout)
    devices = sends_async(fleet.devices)
    delete_device = sends_async(fleet.delete_device)
    create_key = sends_async(access.create_key)
    keys = sends_async(access.keys)
    rotate_key = sends_async(access.rotate_key)
    revoke_key = sends_async(access.revoke_key)
    audit = sends_async(access.audit)
    usage = sends_async(access.usage)

    async def wait_for_job(
        self, job_id: str, timeout_seconds: float = 3600, on_progress: Callable[[Job], None] | None = None
    ) -> Generated:
        """As `CloudClient.wait_for_job`."""
        deadline = Deadline(timeout_seconds)
        while not (job := _shown(await self.job(job_id), on_progress)).is_over:
            _verify_time(deadline, job)
            await asyncio.sleep(JOB_POLL_SECONDS)
        return result_of(job)


def _shown(job: Job, on_progress: Callable[[Job], None] | None) -> Job:
    if on_progress is not None:
        on_progress(job)
    return job


def _verify_time(deadline: Deadline, job: Job) -> None:
    if deadline.remaining_seconds <= 0:
        done = f"{job.progress.done} of {job.progress.total} steps"
        raise WaitError(f"job {job.id} is {job.state} when the wait is over, {done}")
