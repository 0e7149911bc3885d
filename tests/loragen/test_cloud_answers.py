"""When a job is over, and that what an answer does not have is not in its JSON."""

from datetime import UTC, datetime

import pytest

from loragen.cloud_answers import Job, JobProgress, Links

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "over"), [("queued", False), ("running", False), ("done", True), ("failed", True), ("cancelled", True)]
)
def test_job_is_over_when_nothing_works_on_it(state: str, over: bool) -> None:
    progress = JobProgress(done=0, total=0)
    job = Job(id="j", state=state, generator="g", created_at=NOW, changed_at=NOW, deadline_at=NOW, progress=progress)
    assert job.is_over is over


def test_channel_is_linked_where_something_was_published() -> None:
    made = {"bundle": "/b", "recipe": "/r", "bank": "/g"}
    assert Links(**made).model_dump() == made
    assert Links(**made, channel="/c").model_dump() == {**made, "channel": "/c"}
