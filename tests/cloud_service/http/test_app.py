"""Generated requests over the OpenAPI schema: no server error, and every answer is as the schema says."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.schemas import BaseSchema

from cloud_service.bootstrap import run
from tests.cloud_service.clouds import settings_for
from tests.cloud_service.fake_generator import FakeGenerator

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def openapi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    """The schema of a service that listens on a real port, in a thread of its own."""
    directory: Path = tmp_path_factory.mktemp("cloud")
    listening: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()

        def on_listening(port: int, _: int) -> None:
            listening.set_result((port, asyncio.get_running_loop(), stop))

        await run(settings_for(directory, port=0, grpc_port=0), [FakeGenerator(directory)], stop, on_listening)

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    port, loop, stop = listening.result(timeout=30)
    yield schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    loop.call_soon_threadsafe(stop.set)
    thread.join(timeout=30)


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_any_request_is_answered_as_the_schema_says(openapi: BaseSchema, mode: GenerationMode) -> None:
    operations = [result.ok() for result in openapi.get_all_operations()]
    assert len(operations) >= 12
    if mode is GenerationMode.NEGATIVE:  # without a parameter or a body there is nothing to get wrong
        operations = [operation for operation in operations if [*operation.iter_parameters(), *operation.body]]
    for operation in operations:

        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def verify(case: schemathesis.Case) -> None:
            if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
                # What the schema cannot say: which names are loaded, and that one field must describe the task.
                case.body.pop("generator", None)
                case.body.pop("edge_model", None)
                if case.operation.path == "/generate-lora":
                    case.body["description"] = case.body.get("description") or "Sort the mail."
            case.call_and_validate(checks=CHECKS)

        verify()
