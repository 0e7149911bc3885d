"""The port of jobs: work that outlives the request that asked for it. What a document says is the service's business.

Adapters keep the rules of `cloud_service.store.port`, and these:
- A job changes by compare-and-swap only, so that a cancellation by another replica is not overwritten.
- It is kept for a time after its last change. Of too many, those that are over make room, the oldest of the tenant that
  has most of them, and never one that goes on: while all of them do, no new one is taken.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredJob:
    """One job.

    Attributes:
        job_id: Its name.
        version: 1 at first, one more with each change.
        created_at: When it was made, in microseconds since 1970; the listing goes by it.
        document: Its bytes; empty when they are gone while the listing still has its name.
        tenant: Whose it is; empty for the operator's.
        busy_until: It goes on until then, in microseconds since 1970, unless it is changed before; 0 for one that is
            over.
    """

    job_id: str
    version: int
    created_at: int
    document: bytes
    tenant: str = ""
    busy_until: int = 0


class JobStore(Protocol):
    """Jobs with their versions."""

    async def load_job(self, job_id: str) -> StoredJob | None:
        """The job of this name."""
        ...

    async def load_jobs(self, limit: int, before: int | None = None, tenant: str = "") -> list[StoredJob]:
        """Jobs, the most recent first; of those made `before` a time, and of one tenant, if given."""
        ...

    async def swap_job(self, job: StoredJob) -> bool:
        """Write a job whose stored version is one less (0: not there yet).

        False when it is not, and when there is no room for a new one.
        """
        ...
