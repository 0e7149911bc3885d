"""Every code of the cloud service is documented, and every error links to it, over HTTP, gRPC and the console."""

from pathlib import Path

import grpc
import httpx2
import pytest

from cloud_service.bootstrap import Cloud
from cloud_service.errors import CloudError
from cloud_service.http.error_codes import ERROR_CODES
from loragen.contract.errors import ContractError
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from loragen.web.errors import FrontError
from tests.raised_codes import class_codes, raised_codes

BY_CODE = {each.code: each for each in ERROR_CODES}


def test_every_code_that_is_raised_is_documented_with_its_class(root: Path) -> None:
    raised = raised_codes(root / "cloud_service")
    assert ("bundle_in_use", "ConflictError") in raised
    assert ("missing_scope", "ForbiddenError") in raised
    assert ("adapter_", "InvalidRequestError") in raised
    known = {code for code in BY_CODE if not code.startswith("adapter_")}
    assert {code for code, _ in raised} - known == {"adapter_"}
    others = {(code, name) for code, name in raised if code in known and code not in class_codes(CloudError)}
    assert {(code, BY_CODE[code].error.__name__) for code, _ in others} == others
    front = {each.code for each in FrontError.__subclasses__()}
    assert known - {code for code, _ in others} <= class_codes(CloudError) | front, "no code is raised no more"
    assert set(BY_CODE) - known == {f"adapter_{each.code}" for each in ContractError.__subclasses__()}


def test_every_code_of_a_class_is_documented_in_words() -> None:
    assert class_codes(CloudError) <= set(BY_CODE)
    assert [each.code for each in ERROR_CODES if not each.meaning.endswith(".") or len(each.meaning) < 15] == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("PUT", "/generators", 405),
        ("GET", "/bundles/" + "0" * 64, 404),
        ("POST", "/generate-lora", 415),
        ("GET", "/channels/-", 422),
    ],
)
async def test_error_over_http_links_to_its_line(http: httpx2.AsyncClient, method: str, path: str, status: int) -> None:
    content = {"content": b"text", "headers": {"content-type": "text/plain"}} if method == "POST" else {}
    answer = await http.request(method, path, **content)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    url = httpx2.URL(str(answer.url)).join(error["documentation_url"])
    page = await http.get(url)
    assert page.status_code == 200
    assert f'<div id="{url.fragment}"><dt>{error["code"]}</dt><dd>HTTP {status}.' in page.text


async def test_error_over_grpc_links_to_its_line(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    port = await cloud.grpc_server.start("127.0.0.1", 0)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stubs.GeneratorStub(channel).GenerateLora(pb.GenerateLoraRequest(description=""))
    finally:
        await cloud.grpc_server.stop(0)
    trailers = dict(caught.value.trailing_metadata() or ())
    code, link = trailers["loragen-error-code"], str(trailers["loragen-error-documentation"])
    assert link == f"/errors#{code}"
    assert f'<div id="{code}">' in (await http.get(link)).text


async def test_error_of_the_console_links_to_its_line(http: httpx2.AsyncClient) -> None:
    page = await http.get("/console/channels/nowhere")
    assert page.status_code == 404
    assert 'href="/errors#not_found"' in page.text
