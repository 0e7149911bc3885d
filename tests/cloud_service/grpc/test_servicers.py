"""gRPC over a real port: the same service, limits and errors as over HTTP."""

import asyncio

import grpc
import httpx2
import numpy as np
import pytest
from pydantic import ValidationError

from cloud_service.bootstrap import Cloud
from cloud_service.grpc.servicers import _to_body
from cloud_service.schemas import GenerateLoraBody
from loragen.contract.bundle import content_id
from loragen.contract.recipe import parse_recipe
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from tests.cloud_service.clouds import eventually, publish_to
from tests.cloud_service.fake_generator import CHOICE, CHOOSE, PROBE, PROBED, FakeGenerator

CONTRADICTION = [{"input": "a", "output": "x"}, {"input": "a", "output": "y"}]


async def test_answer_is_that_of_http_with_exact_gates(
    generator_stub: stubs.GeneratorStub, http: httpx2.AsyncClient
) -> None:
    tool = pb.Tool(name="find", description="Finds.", parameters_json='{"type": "object", "properties": {"a": {}}}')
    request = pb.GenerateLoraRequest(
        description="Sort.", examples=[pb.Example(input="a", output="b")], tools=[tool], output_format="word"
    )
    assert not (await generator_stub.GenerateLora(request)).HasField("gates")
    request.include_bundle = request.include_gates = True
    answer = await generator_stub.GenerateLora(request)
    over_http = (
        await http.post(
            "/generate-lora",
            json={
                "description": "Sort.",
                "examples": [{"input": "a", "output": "b"}],
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "find", "description": "Finds.", "parameters": {"properties": {"a": {}}}},
                    }
                ],
                "output_format": "word",
            },
        )
    ).json()
    assert over_http["cached"], "both protocols must ask for the same thing"
    assert answer.id == content_id(answer.bundle)
    assert answer.recipe_id == over_http["recipe_id"] == over_http["id"]
    assert answer.tokens_saved_per_call == over_http["tokens_saved_per_call"]
    recipe = parse_recipe((await http.get(f"/recipes/{answer.recipe_id}")).content)
    shape = (answer.gates.layers, answer.gates.groups, answer.gates.experts)
    assert np.array_equal(np.array(answer.gates.values, np.float32).reshape(shape), recipe.gates)


async def test_answer_says_what_answers_may_look_like(generator_stub: stubs.GeneratorStub) -> None:
    text = (await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="Sort."))).answer
    assert (text.type, text.choices, text.codes) == ("text", [], [])
    choice = (await generator_stub.GenerateLora(pb.GenerateLoraRequest(description=CHOOSE))).answer
    assert choice == pb.AnswerContract(type="choice", choices=CHOICE.choices, codes=CHOICE.codes)


async def test_residual_prompt_is_reported_and_its_tokens_are_not_saved(
    generator_stub: stubs.GeneratorStub, generator: FakeGenerator
) -> None:
    generator.residual_prompt_words = 4
    request = pb.GenerateLoraRequest(description="Find the city.", examples=[pb.Example(input="a", output="b")])
    answer = await generator_stub.GenerateLora(request)
    assert answer.residual_prompt == "Find the city."
    assert answer.tokens_saved_per_call == answer.prompt_tokens - 3 > 0
    assert (await generator_stub.GenerateLora(pb.GenerateLoraRequest(description=CHOOSE))).residual_prompt == ""


async def test_answer_that_is_given_is_taken_and_codes_are_refused(generator_stub: stubs.GeneratorStub) -> None:
    given = pb.AnswerContract(type="choice", choices=["spam", "ham"])
    answer = (await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="Sort.", answer=given))).answer
    assert answer.choices == ["spam", "ham"]
    given.codes.extend([1, 2])
    with pytest.raises(grpc.aio.AioRpcError, match="answer"):
        await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="Sort.", answer=given))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"type": "object", "type": "object"}', "each key of an object once"),
        ('{"default": NaN}', "found NaN"),
        ("[" * 900 + "]" * 900, "at most 100 levels"),
        ("{", "expected JSON"),
    ],
)
async def test_json_in_a_field_is_held_to_the_rules_of_bodies_over_http(
    generator_stub: stubs.GeneratorStub, text: str, message: str
) -> None:
    for field, request in (
        ("tools.0.parameters_json", pb.GenerateLoraRequest(tools=[pb.Tool(name="find", parameters_json=text)])),
        ("answer.schema_json", pb.GenerateLoraRequest(answer=pb.AnswerContract(type="json", schema_json=text))),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await generator_stub.GenerateLora(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert f"{field}: " in (refused.value.details() or "")
        assert message in (refused.value.details() or "")


async def test_bundle_comes_only_when_asked_for(generator_stub: stubs.GeneratorStub) -> None:
    answer = await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="Sort."))
    assert not answer.HasField("bundle")


async def test_publish_in_the_request_publishes(generator_stub: stubs.GeneratorStub, http: httpx2.AsyncClient) -> None:
    target = pb.PublishTarget(channel="kitchen", name="mail")
    answer = await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="Sort.", publish=target))
    assert (await http.get("/channels/kitchen")).json()["specializations"][0]["bundle_id"] == answer.id


async def test_watch_tells_of_publishes_and_ends_when_the_process_drains(
    cloud: Cloud,
    generator_stub: stubs.GeneratorStub,
    channels_stub: stubs.ChannelsStub,
) -> None:
    changes = channels_stub.Watch(pb.WatchRequest(channel="kitchen", device_id="toaster"))
    for version, text in enumerate(("one", "two"), start=1):
        target = pb.PublishTarget(channel="kitchen", name=text)
        await generator_stub.GenerateLora(pb.GenerateLoraRequest(description=text, publish=target))
        async with asyncio.timeout(5):
            assert await changes.read() == pb.ChannelChanged(channel="kitchen", version=version)
    cloud.channels.drain()
    async with asyncio.timeout(5):
        assert await changes.read() is grpc.aio.EOF


async def test_watch_of_a_channel_without_a_proper_name_is_refused(channels_stub: stubs.ChannelsStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channels_stub.Watch(pb.WatchRequest(channel="../x")).read()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_client_that_stops_watching_leaves_nothing_behind(
    cloud: Cloud, channels_stub: stubs.ChannelsStub
) -> None:
    changes = channels_stub.Watch(pb.WatchRequest(channel="kitchen"))
    reading = asyncio.ensure_future(changes.read())
    await eventually(lambda: cloud.channels.watches == 1)
    changes.cancel()
    await eventually(lambda: cloud.channels.watches == 0)
    await asyncio.gather(reading, return_exceptions=True)


async def test_what_a_device_reports_is_listed(
    cloud: Cloud, channels_stub: stubs.ChannelsStub, http: httpx2.AsyncClient
) -> None:
    await publish_to(cloud, "kitchen")
    running = pb.RunningSpecialization(
        name="mail", bundle_id="0" * 64, state=pb.SPECIALIZATION_STATE_FAILED, message="disk full", slower=True
    )
    node = "node-1." + "a" * 63 + ".internal.example"
    status = pb.DeviceReport(
        device_id=node, channel="kitchen", channel_version=3, specializations=[running], runtime_version="0.1"
    )
    await channels_stub.ReportStatus(status)
    (device,) = (await http.get("/devices?channel=kitchen")).json()["devices"]
    assert device["reported_at"]
    assert device["device_id"] == node
    said = {"name": "mail", "bundle_id": "0" * 64, "state": "failed", "message": "disk full", "failed_bundle_id": ""}
    assert device["specializations"] == [said | {"slower": True}]


async def test_report_with_labels_and_a_newer_bundle_that_failed_is_a_failing_device(
    cloud: Cloud, channels_stub: stubs.ChannelsStub, http: httpx2.AsyncClient
) -> None:
    await publish_to(cloud, "kitchen")
    running = pb.RunningSpecialization(
        name="mail", bundle_id="0" * 64, state=pb.SPECIALIZATION_STATE_MERGED, failed_bundle_id="1" * 64
    )
    for device_id, specializations in (("toaster", [running]), ("kettle", [])):
        await channels_stub.ReportStatus(
            pb.DeviceReport(
                device_id=device_id, channel="kitchen", specializations=specializations, labels={"ring": "canary"}
            )
        )
    (device,) = (await http.get("/devices?failing=true&label=ring=canary")).json()["devices"]
    assert (device["device_id"], device["labels"]) == ("toaster", {"ring": "canary"})


async def test_report_about_a_channel_that_was_never_published_is_not_found_and_not_stored(
    channels_stub: stubs.ChannelsStub, http: httpx2.AsyncClient
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channels_stub.ReportStatus(pb.DeviceReport(device_id="toaster", channel="made-up", channel_version=1))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert dict(caught.value.trailing_metadata())["loragen-error-code"] == "not_found"
    assert (await http.get("/devices")).json()["devices"] == []


@pytest.mark.parametrize(
    "status",
    [
        pb.DeviceReport(device_id="../x", channel="kitchen"),
        pb.DeviceReport(device_id="toaster", channel=""),
        pb.DeviceReport(device_id="toaster", channel="kitchen", labels={"Ring": "x"}),
        pb.DeviceReport(device_id="toaster", channel="kitchen", labels={f"a{n}": "x" for n in range(1000)}),
        pb.DeviceReport(device_id="toaster", channel="kitchen", runtime_version="a" * 101),
        pb.DeviceReport(device_id="toaster", channel="kitchen", specializations=[pb.RunningSpecialization(name="a")]),
    ],
)
async def test_report_that_is_none_is_refused(channels_stub: stubs.ChannelsStub, status: pb.DeviceReport) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channels_stub.ReportStatus(status)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_grpc_mirrors_confidence_warnings_and_probe(generator_stub: stubs.GeneratorStub) -> None:
    probe = [pb.Example(**each) for each in PROBE]
    examples = [pb.Example(**each) for each in CONTRADICTION]
    answer = await generator_stub.GenerateLora(
        pb.GenerateLoraRequest(description="Sort.", examples=examples, probe=probe, strict=True)
    )
    assert answer.confidence == pytest.approx((0.875 + 1) / 3), "one of the probe's two inputs was gained"
    assert [warning.code for warning in answer.warnings] == ["contradictory_examples"]
    for name, scores in PROBED.items():
        message = getattr(answer.probe, name)
        assert {"exact_match": message.exact_match, "log_likelihood": message.log_likelihood} == scores


async def test_grpc_tries_examples_each_left_out(generator_stub: stubs.GeneratorStub, generator: FakeGenerator) -> None:
    examples = [pb.Example(**each) for each in PROBE]
    request = pb.GenerateLoraRequest(description="Sort.", examples=examples, probe_examples=True)
    answer = await generator_stub.GenerateLora(request)
    assert answer.confidence == pytest.approx((0.875 + 1) / 3)
    assert answer.probe.specialized.exact_match == 0.5
    assert [prompt.count("Input:") for prompt in generator.prompts] == [2, 1, 1]
    with pytest.raises(grpc.aio.AioRpcError, match="examples: expected at least 2") as refused:
        await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="Sort.", probe_examples=True))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_grpc_strict_is_refused_and_null_is_absent(
    generator_stub: stubs.GeneratorStub, generator: FakeGenerator
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="NONSENSE", strict=True))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ("loragen-error-code", "low_confidence") in [tuple(each) for each in refused.value.trailing_metadata()]
    generator.calibrated = False
    answer = await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="Other."))
    assert not answer.HasField("confidence")
    assert not answer.HasField("probe")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (pb.GenerateLoraRequest(examples=[pb.Example(input="a", output="b")] * 1000), "at most 64 items"),
        (pb.GenerateLoraRequest(tools=[pb.Tool(name="a")] * 1000), "at most 64 items"),
        (pb.GenerateLoraRequest(description="a", probe=[pb.Example()] * 1000), "at most 32 items"),
    ],
)
def test_message_with_very_many_items_is_refused_without_a_copy_of_each(
    request_: pb.GenerateLoraRequest, message: str
) -> None:
    body = _to_body(request_)
    assert sum(len(body[part]) for part in ("examples", "tools", "probe")) <= 65
    with pytest.raises(ValidationError, match=message):
        GenerateLoraBody.model_validate(body)


EXAMPLES = [{"input": f"input {number}", "output": f"out {number}"} for number in range(8)]


async def test_refinement_is_that_of_http(generator_stub: stubs.GeneratorStub, http: httpx2.AsyncClient) -> None:
    request = pb.GenerateLoraRequest(description="Write.", examples=[pb.Example(**each) for each in EXAMPLES])
    request.refine.steps = 7
    answer = await generator_stub.GenerateLora(request)
    found = answer.refinement
    assert (found.tuned, found.kept, found.examples, found.held_out) == ("gates", True, 8, 6)
    assert (found.before.right, found.after.right, found.after.loss) == (0.25, 0.75, 0.5)
    body = {"description": "Write.", "examples": EXAMPLES, "refine": {"steps": 7}}
    over_http = (await http.post("/generate-lora", json=body)).json()
    assert (over_http["cached"], over_http["id"]) == (True, answer.id)
    plain = await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="Write."))
    assert not plain.HasField("refinement")


@pytest.mark.parametrize(
    ("examples", "refine", "message"),
    [
        (8, pb.Refine(budget_seconds=61), "refine.budget_seconds: expected at most 60"),
        (8, pb.Refine(budget_seconds=0.0), "refine.budget_seconds"),
        (8, pb.Refine(steps=0), "refine.steps"),
        (8, pb.Refine(steps=2**32 - 1), "refine.steps"),
        (3, pb.Refine(), "examples: expected at least 4 different inputs"),
        (513, pb.Refine(), "512 items"),
        (65, None, "at most 64 items without refine"),
    ],
)
async def test_refinement_that_cannot_be_is_refused(
    generator_stub: stubs.GeneratorStub, generator: FakeGenerator, examples: int, refine: pb.Refine | None, message: str
) -> None:
    sent = [pb.Example(input=str(number), output="x") for number in range(examples)]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="Write.", examples=sent, refine=refine))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert message in str(caught.value.details())
    assert generator.prompts == []
