"""What every adapter promises of jobs; each test runs against Redis and against SQLite."""

import asyncio
import time
from dataclasses import replace

from cloud_service.store import StoredJob
from tests.cloud_service.store_backends import StoreBackend

JOB = StoredJob("a" * 32, 1, 1_000_000, b"one\0\xff")


async def test_job_is_found_again_after_a_restart(backend: StoreBackend) -> None:
    assert await (await backend.open()).jobs.swap_job(JOB)
    await backend.restart()
    store = await backend.open()
    assert await store.jobs.load_job(JOB.job_id) == JOB
    assert await store.jobs.load_jobs(10) == [JOB]
    assert await store.jobs.load_job("b" * 32) is None


async def test_job_changes_only_from_the_version_before(backend: StoreBackend) -> None:
    jobs = (await backend.open()).jobs
    assert not await jobs.swap_job(replace(JOB, version=2))
    assert await jobs.swap_job(JOB)
    assert not await jobs.swap_job(replace(JOB, document=b"another"))
    second = replace(JOB, version=2, document=b"two")
    outcomes = await asyncio.gather(*(jobs.swap_job(second) for _ in range(4)))
    assert sorted(outcomes) == [False, False, False, True]
    assert await jobs.load_job(JOB.job_id) == second
    assert not await jobs.swap_job(replace(JOB, version=4))


async def test_jobs_are_listed_by_time_and_page(backend: StoreBackend) -> None:
    jobs = (await backend.open()).jobs
    made = [replace(JOB, job_id=f"{number:032x}", created_at=1000 + number) for number in range(5)]
    for job in (made[3], made[0], made[4], made[1], made[2]):
        assert await jobs.swap_job(job)
    assert await jobs.load_jobs(2) == [made[4], made[3]]
    assert await jobs.load_jobs(10, before=1003) == [made[2], made[1], made[0]]
    assert await jobs.load_jobs(10, before=1000) == []


async def test_job_expires_after_its_last_change(backend: StoreBackend) -> None:
    jobs = (await backend.open(job_seconds=0.6)).jobs
    assert await jobs.swap_job(JOB)
    await asyncio.sleep(0.4)
    assert await jobs.swap_job(replace(JOB, version=2))
    await asyncio.sleep(0.4)
    assert await jobs.load_job(JOB.job_id) is not None
    await asyncio.sleep(0.4)
    assert await jobs.load_job(JOB.job_id) is None
    assert not [job for job in await jobs.load_jobs(10) if job.document]


NOW = time.time_ns() // 1_000
LATER = NOW + 86_400_000_000  # read when the file is imported, so minutes before the tests run


async def test_oldest_jobs_that_are_over_make_room(backend: StoreBackend) -> None:
    jobs = (await backend.open(jobs_kept=2)).jobs
    made = [replace(JOB, job_id=f"{number:032x}", created_at=1000 + number) for number in range(4)]
    for job in made:
        assert await jobs.swap_job(job)
    assert await jobs.load_jobs(10) == [made[3], made[2]]
    assert await jobs.load_job(made[0].job_id) is None


async def test_who_has_most_jobs_that_are_over_makes_room(backend: StoreBackend) -> None:
    """Else one tenant's jobs would push out what others have not fetched yet."""
    jobs = (await backend.open(jobs_kept=4)).jobs
    tenants = ("few", "few", "many", "many", "many", "many", "many")
    made = [
        replace(JOB, job_id=f"{number:032x}", created_at=1000 + number, tenant=tenant, busy_until=0)
        for number, tenant in enumerate(tenants)
    ]
    for job in made[:4]:
        assert await jobs.swap_job(job)
    assert await jobs.swap_job(made[4])
    assert await jobs.load_jobs(10, tenant="few") == [made[1]], "as many as the other has, and older"
    for job in made[5:]:
        assert await jobs.swap_job(job)
    assert await jobs.load_jobs(10) == [made[6], made[5], made[4], made[1]]


async def test_job_that_goes_on_never_makes_room(backend: StoreBackend) -> None:
    """However old it is: whoever asked for it would be told that there is none."""
    jobs = (await backend.open(jobs_kept=3)).jobs
    made = [replace(JOB, job_id=f"{number:032x}", created_at=1000 + number, busy_until=LATER) for number in range(6)]
    for job in made[:2]:
        assert await jobs.swap_job(job)
    assert await jobs.swap_job(replace(made[2], busy_until=0))
    assert await jobs.swap_job(made[3])
    assert await jobs.load_jobs(10) == [made[3], made[1], made[0]]
    for _ in range(2):
        assert not await jobs.swap_job(made[4]), "all of them go on"
    assert await jobs.load_job(made[4].job_id) is None
    over = replace(made[0], version=2, busy_until=0, document=b"over")
    assert await jobs.swap_job(over)
    assert await jobs.swap_job(made[4])
    assert await jobs.load_jobs(10) == [made[4], made[3], made[1]]
    assert await jobs.swap_job(replace(made[1], version=2)), "one that goes on changes, however many there are"


async def test_job_that_nobody_changed_for_long_counts_as_over(backend: StoreBackend) -> None:
    """Its replica is gone; those of all replicas that ever died would else fill the store."""
    jobs = (await backend.open(jobs_kept=1)).jobs
    lost = replace(JOB, job_id="b" * 32, busy_until=NOW - 1)
    assert await jobs.swap_job(lost)
    assert await jobs.swap_job(replace(JOB, created_at=2_000_000, busy_until=LATER))
    assert await jobs.load_job(lost.job_id) is None


async def test_jobs_are_listed_by_tenant(backend: StoreBackend) -> None:
    jobs = (await backend.open(jobs_kept=4)).jobs
    tenants = ("acme", "", "other", "acme", "acme")
    made = [
        replace(JOB, job_id=f"{number:032x}", created_at=1000 + number, tenant=tenant)
        for number, tenant in enumerate(tenants)
    ]
    for job in made:
        assert await jobs.swap_job(job)
    assert await jobs.load_jobs(10, tenant="acme") == [made[4], made[3]]
    assert await jobs.load_jobs(1, tenant="acme") == [made[4]]
    assert await jobs.load_jobs(10, 1004, "acme") == [made[3]]
    assert await jobs.load_jobs(10, tenant="nobody") == []
    assert [job.tenant for job in await jobs.load_jobs(10)] == ["acme", "acme", "other", ""]
