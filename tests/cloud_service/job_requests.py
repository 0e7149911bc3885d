"""Helper: a request for a refinement as a job, and a wait for the job's state."""

import asyncio
from typing import Any

import httpx2

EXAMPLES = [{"input": f"input {number}", "output": f"out {number}"} for number in range(8)]
REQUEST: dict[str, Any] = {"description": "Write.", "examples": EXAMPLES, "refine": {}}
ASYNC = {"prefer": "respond-async, wait=5"}


async def started(http: httpx2.AsyncClient, request: dict[str, Any] = REQUEST) -> str:
    response = await http.post("/generate-lora", json=request, headers=ASYNC)
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


async def job_of(http: httpx2.AsyncClient, job_id: str, *states: str) -> dict[str, Any]:
    """The job, as soon as it is in one of these states."""
    for _ in range(500):
        job: dict[str, Any] = (await http.get(f"/jobs/{job_id}")).json()
        if job["state"] in states:
            return job
        await asyncio.sleep(0.01)
    raise AssertionError(f"expected {states}, found {job}")
