"""Every call of the cloud service, against the service itself."""

import asyncio
from pathlib import Path

import httpx2
import pytest
import stamina

from cloud_service.bootstrap import Cloud, open_cloud
from loragen import AsyncCloudClient, CloudClient, RemoteError
from loragen.client.errors import ClientError
from loragen.contract.bank import Bank
from loragen.contract.bundle import content_id, parse_bundle
from loragen.contract.recipe import parse_recipe
from tests.adapters import random_adapter
from tests.cloud_service.clouds import eventually, settings_for
from tests.cloud_service.fake_generator import CHOICE, CHOOSE, LINEARS, FakeGenerator
from tests.loragen.client.scripted import Scripted

TASK = {"description": "Sort.", "examples": [{"input": "a", "output": "b"}]}


async def test_generation_leads_to_bundle_and_recipe(cloud: AsyncCloudClient) -> None:
    answer = await cloud.generate({**TASK, "include": ["gates"]}, generator="fake", edge_model="tiny-edge")
    assert (answer.cached, answer.generator.id, answer.edge_model.id) == (False, "fake", "tiny-edge")
    assert answer.tokens_saved_per_call == answer.prompt_tokens > 0
    assert answer.confidence == 0.875
    bundle = await cloud.bundle(answer.id)
    assert (answer.id, len(bundle)) == (answer.recipe_id, answer.bundle_bytes)
    assert await cloud.bundle(content_id(bundle)) == bundle
    assert parse_bundle(bundle).header.generator_id == "fake"
    recipe = parse_recipe(await cloud.recipe(answer.recipe_id))
    assert answer.gates is not None
    assert recipe.gates.shape == (len(answer.gates), len(answer.gates[0]), len(answer.gates[0][0]))
    again = await cloud.generate_bundle(TASK)
    assert (again.id, again.recipe_id, again.data) == (content_id(bundle), answer.recipe_id, bundle)


async def test_generated_answer_says_what_answers_may_look_like(cloud: AsyncCloudClient) -> None:
    assert (await cloud.generate("Sort.")).answer.type == "text"
    answer = (await cloud.generate(CHOOSE)).answer
    assert (answer.type, answer.choices, answer.codes) == ("choice", CHOICE.choices, CHOICE.codes)


async def test_own_lora_becomes_a_bundle(cloud: AsyncCloudClient) -> None:
    answer = await cloud.import_adapter(
        random_adapter(LINEARS, answer=CHOICE), publish="kitchen/mails", edge_model="tiny-edge"
    )
    assert (answer.edge_model.id, answer.modules) == ("tiny-edge", len(LINEARS))
    assert (answer.answer.choices, answer.answer.codes) == (CHOICE.choices, CHOICE.codes)
    assert parse_bundle(await cloud.bundle(answer.id)).header.is_imported
    entry = (await cloud.channel("kitchen")).specializations["mails"]
    assert (entry.bundle_id, entry.recipe) == (answer.id, None)
    other = await cloud.import_adapter(random_adapter(LINEARS), answer={"type": "choice", "choices": ["a", "b"]})
    assert other.answer.choices == ("a", "b")


async def test_text_is_the_description(cloud: AsyncCloudClient, generator: FakeGenerator) -> None:
    await cloud.generate("Sort the mail.")
    assert generator.prompts == ["Sort the mail."]


async def test_probe_and_warnings_come_with_the_answer(cloud: AsyncCloudClient) -> None:
    answer = await cloud.generate("NONSENSE", probe=[{"input": "a", "output": "a"}, {"input": "a", "output": "b"}])
    assert answer.probe is not None
    assert (answer.probe.base.exact_match, answer.probe.specialized.exact_match) == (0, 0.5)
    assert [warning.code for warning in answer.warnings] == ["low_confidence"]
    with pytest.raises(RemoteError) as caught:
        await cloud.generate("NONSENSE", strict=True)
    assert (caught.value.code, caught.value.status) == ("low_confidence", 422)


async def test_examples_can_be_tried_each_left_out(cloud: AsyncCloudClient) -> None:
    examples = [{"input": "a", "output": "a"}, {"input": "b", "output": "c"}]
    answer = await cloud.generate({"description": "Repeat.", "examples": examples}, probe_examples=True)
    assert answer.probe is not None
    assert (answer.probe.base.exact_match, answer.probe.specialized.exact_match) == (0, 0.5)


async def test_refusal_is_the_services_own(cloud: AsyncCloudClient) -> None:
    with pytest.raises(RemoteError, match="other") as caught:
        await cloud.generate({**TASK, "generator": "other"})
    assert (caught.value.code, caught.value.hint) == ("unknown_generator", "loaded: fake")
    assert caught.value.request_id
    with pytest.raises(RemoteError) as caught:
        await cloud.bundle("0" * 64)
    assert (caught.value.code, caught.value.status) == ("bundle_not_found", 404)


async def test_publishing_changes_the_channel(cloud: AsyncCloudClient) -> None:
    answer = await cloud.generate(TASK, publish="kitchen/mail")
    first = await cloud.channel("kitchen")
    assert (first.name, first.version) == ("kitchen", 1)
    assert first.specializations["mail"].bundle_id == answer.id
    assert await cloud.channel("kitchen", known=first) is first
    second = await cloud.publish("kitchen", "post", answer.id, expected=first)
    assert (second.version, [*second.specializations]) == (2, ["mail", "post"])
    assert await cloud.channel("kitchen", known=first) == second
    with pytest.raises(RemoteError) as caught:
        await cloud.withdraw("kitchen", "post", expected=first)
    assert caught.value.code == "precondition_failed"
    assert [*(await cloud.withdraw("kitchen", "post")).specializations] == ["mail"]
    assert (await cloud.devices("kitchen")).devices == ()


@pytest.mark.parametrize("publish", ["", "kitchen", "kitchen/", "/mail"])
async def test_place_to_publish_that_is_none_is_refused_at_once(cloud: AsyncCloudClient, publish: str) -> None:
    with pytest.raises(ClientError, match="CHANNEL/NAME"):
        await cloud.generate(TASK, publish=publish)


async def test_bank_is_downloaded_once(cloud: AsyncCloudClient, generator: FakeGenerator, tmp_path: Path) -> None:
    (summary,) = await cloud.generators()
    assert (summary.id, summary.default, summary.bank.digest) == ("fake", True, generator.bank.digest)
    path = tmp_path / "bank"
    assert await cloud.download_bank("fake", path)
    assert Bank.open(path).digest == summary.bank.digest
    assert not await cloud.download_bank("fake", path)
    path.write_bytes(b"an older one")
    assert await cloud.download_bank("fake", path)
    assert path.stat().st_size == summary.bank.bytes


async def test_draining_service_is_not_ready(cloud: AsyncCloudClient, cloud_app: Cloud) -> None:
    assert (await cloud.readiness()).ready
    cloud_app.service.drain()
    readiness = await cloud.readiness()
    assert not readiness.ready
    assert "HTTP 503" in readiness.reason


async def test_overloaded_service_is_asked_again_when_it_says(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path, max_queue=1, max_batch=1, max_delay_seconds=0)
    async with (
        open_cloud(settings, [generator]) as app,
        AsyncCloudClient("http://localhost", transport=httpx2.ASGITransport(app.app)) as cloud,
    ):
        generator.gate.clear()
        running = asyncio.create_task(cloud.generate("running"))
        await generator.wait_until_called()
        waiting = asyncio.create_task(cloud.generate("waiting"))
        (served,) = app.service.catalog
        await eventually(lambda: served.runner.waiting == 1)
        with pytest.raises(RemoteError) as caught:
            await cloud.generate("one too many")
        assert (caught.value.code, caught.value.status) == ("overloaded", 503)
        assert caught.value.retry_after_seconds is not None
        with stamina.set_testing(False):
            late = asyncio.create_task(cloud.generate("one too many"))
            await asyncio.sleep(0.2)
            generator.gate.set()
            assert not (await late).cached
        await asyncio.gather(running, waiting)


@pytest.mark.parametrize("data", [b"damaged", b""])
def test_damaged_download_is_refused(data: bytes) -> None:
    answer = httpx2.Response(200, content=data, headers={"etag": f'"{"0" * 64}"'})
    with CloudClient("http://cloud", transport=Scripted(*[answer] * 3)) as cloud:
        for download in (
            lambda: cloud.bundle("0" * 64),
            lambda: cloud.recipe("0" * 64),
            lambda: cloud.generate_bundle("a"),
        ):
            with pytest.raises(RemoteError) as caught:
                download()
            assert caught.value.code == "integrity"


def test_what_devices_report_may_have_more_fields() -> None:
    served = {"name": "mail", "bundle_id": "b", "state": "merged", "later": 1}
    report = {"device_id": "d", "channel": "kitchen", "channel_version": 3, "specializations": [served], "later": 1}
    answer = httpx2.Response(200, json={"devices": [report], "later": 1})
    with CloudClient("http://cloud", transport=Scripted(answer)) as cloud:
        (device,) = cloud.devices("kitchen").devices
    assert (device.device_id, device.specializations[0].state) == ("d", "merged")


REFINED = {"description": "Write.", "examples": [{"input": f"input {n}", "output": f"out {n}"} for n in range(8)]}


async def test_refined_answer_has_its_scores(cloud: AsyncCloudClient, generator: FakeGenerator) -> None:
    answer = await cloud.generate(REFINED, refine={"steps": 9})
    assert answer.refinement is not None
    assert (answer.refinement.tuned, answer.refinement.kept) == ("gates", True)
    assert answer.refinement.before.right < answer.refinement.after.right
    with pytest.raises(RemoteError) as refused:
        await cloud.generate("Write.", refine={})
    assert refused.value.code == "too_few_examples"
