"""Downloads: conditional, resumable, cacheable."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from cloud_service.bootstrap import open_cloud
from loragen.contract.bundle import content_id
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator


@pytest_asyncio.fixture
async def answer(http: httpx2.AsyncClient) -> dict[str, Any]:
    response = await http.post("/generate-lora", json={"description": "Sort the mail."})
    result: dict[str, Any] = response.json()
    return result


@pytest.mark.parametrize("kind", ["bundle", "recipe"])
async def test_artifact_is_immutable_and_known_by_its_id(
    http: httpx2.AsyncClient, answer: dict[str, Any], kind: str
) -> None:
    path = answer["links"][kind]
    response = await http.get(path)
    etag = f'"{content_id(response.content)}"'
    assert response.headers["etag"] == etag
    assert "immutable" in response.headers["cache-control"]
    assert response.headers["content-type"] == "application/octet-stream"
    for known in (etag, f'"other", W/{etag}', "*"):
        again = await http.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await http.get(path, headers={"if-none-match": '"other"'})).status_code == 200


async def test_head_tells_the_length_without_the_bytes(http: httpx2.AsyncClient, answer: dict[str, Any]) -> None:
    for path in (answer["links"]["bundle"], answer["links"]["recipe"], answer["links"]["bank"]):
        head = await http.head(path)
        assert head.status_code == 200
        assert head.content == b""
        assert int(head.headers["content-length"]) == len((await http.get(path)).content)


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=100-", 100, None), ("bytes=-7", -7, None), ("bytes=5-99999999", 5, None)],
)
async def test_range_sends_that_part(
    http: httpx2.AsyncClient, answer: dict[str, Any], header: str, start: int, stop: int | None
) -> None:
    whole = (await http.get(answer["links"]["bundle"])).content
    part = await http.get(answer["links"]["bundle"], headers={"range": header})
    assert part.status_code == 206
    assert part.content == whole[start:stop]
    first = start % len(whole)
    assert part.headers["content-range"] == f"bytes {first}-{first + len(part.content) - 1}/{len(whole)}"


async def test_download_resumed_in_pieces_is_the_same_file(http: httpx2.AsyncClient, answer: dict[str, Any]) -> None:
    etag = (await http.head(answer["links"]["bundle"])).headers["etag"]
    data = b""
    while len(data) < answer["bundle_bytes"]:
        headers = {"range": f"bytes={len(data)}-{len(data) + 999}", "if-range": etag}
        data += (await http.get(answer["links"]["bundle"], headers=headers)).content
    assert f'"{content_id(data)}"' == etag


async def test_recipe_stands_for_the_bundle_that_it_makes(http: httpx2.AsyncClient, answer: dict[str, Any]) -> None:
    """Whatever is asked first; and the answer says where the bundle itself is."""
    assert answer["id"] == answer["recipe_id"]
    by_recipe = await http.get(f"/bundles/{answer['recipe_id']}")
    bundle_id = content_id(by_recipe.content)
    assert by_recipe.headers["content-location"] == f"/bundles/{bundle_id}"
    assert by_recipe.headers["etag"] == f'"{bundle_id}"'
    assert by_recipe.headers["x-loragen-recipe-id"] == answer["recipe_id"]
    itself = await http.get(by_recipe.headers["content-location"])
    assert itself.content == by_recipe.content
    assert "content-location" not in itself.headers
    assert (await http.get(f"/recipes/{bundle_id}")).status_code == 404


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "items=0-1", "bytes=", "bytes=-", "bytes=9-2", "nonsense"])
async def test_range_of_another_form_sends_the_whole(
    http: httpx2.AsyncClient, answer: dict[str, Any], header: str
) -> None:
    response = await http.get(answer["links"]["recipe"], headers={"range": header})
    assert (response.status_code, len(response.content)) == (200, answer["recipe_bytes"])


async def test_range_of_a_file_that_changed_sends_the_whole(http: httpx2.AsyncClient, answer: dict[str, Any]) -> None:
    response = await http.get(answer["links"]["bank"], headers={"range": "bytes=0-9", "if-range": '"the old digest"'})
    assert response.status_code == 200


async def test_range_behind_the_end_is_refused_with_the_length(
    http: httpx2.AsyncClient, answer: dict[str, Any]
) -> None:
    size = answer["recipe_bytes"]
    for header in (f"bytes={size}-", "bytes=-0"):
        response = await http.get(answer["links"]["recipe"], headers={"range": header})
        assert response.status_code == 416
        assert response.headers["content-range"] == f"bytes */{size}"
        assert response.json()["error"]["code"] == "range_not_satisfiable"


async def test_bank_is_the_file_and_is_revalidated_by_its_digest(
    http: httpx2.AsyncClient, generator: FakeGenerator, tmp_path: Path
) -> None:
    response = await http.get("/generators/fake/bank")
    assert response.content == (tmp_path / "fake.bank.safetensors").read_bytes()
    assert response.headers["etag"] == f'"{generator.bank.digest}"'
    assert response.headers["cache-control"] == "no-cache"
    again = await http.get("/generators/fake/bank", headers={"if-none-match": response.headers["etag"]})
    assert again.status_code == 304


async def test_evicted_bundle_is_served_again(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path, bundle_budget_bytes=0)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        answer = (await http.post("/generate-lora", json={"description": "Sort the mail."})).json()
        first = await http.get(answer["links"]["bundle"])
        assert (await http.get(first.headers["content-location"])).content == first.content


async def test_evicted_bundle_without_its_bank_is_gone(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path, bundle_budget_bytes=0)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        answer = (await http.post("/generate-lora", json={"description": "Sort the mail."})).json()
    other = FakeGenerator(tmp_path, generator_id="another")
    async with open_cloud(settings, [other]) as cloud, client_of(cloud) as http:
        response = await http.get(answer["links"]["bundle"])
        assert (response.status_code, response.json()["error"]["code"]) == (410, "bundle_gone")
        assert (await http.get(answer["links"]["recipe"])).status_code == 200
