"""How much a key may use."""

import asyncio
from pathlib import Path

import pytest

from cloud_service.access.caller import Caller, calling
from cloud_service.access.scopes import Scope
from cloud_service.access.usage import Quota, UsageLimits, UsageMeter
from cloud_service.bootstrap import open_cloud
from cloud_service.errors import OverloadedError, UsageLimitError
from tests.cloud_service.access.fake_store import Counters, usage_within
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import PROBE, FakeGenerator
from tests.cloud_service.guarded import Guarded

KEY, OTHER = Caller("key"), Caller("other")


class World:
    """Counters, a clock and what counts with them."""

    def __init__(self, **limits: int) -> None:
        self.counters = Counters()
        self.time = 6_000.0  # a minute begins
        self.usage = self.replica(**limits)
        self.limits = limits

    def replica(self, **limits: int) -> UsageMeter:
        return UsageMeter(self.counters, UsageLimits(**limits), lambda: self.time)

    async def call(self, caller: Caller = KEY, usage: UsageMeter | None = None) -> str:
        async with (usage or self.usage).call(caller) as headers:
            return headers.get("ratelimit", "")


async def test_without_limits_nothing_is_counted() -> None:
    world = World()
    for _ in range(100):
        assert await world.call() == ""
    with calling(KEY):
        await world.usage.verify_quota("generations", "prompt-tokens")
        async with world.usage.spending({"prompt-tokens": 100}):
            assert not world.usage.has_quota("prompt-tokens")
        for _ in range(100):
            world.usage.hold("probes", 4)
    assert world.counters.calls == 0


async def test_calls_of_a_minute_are_bounded_over_all_replicas() -> None:
    world = World(calls_per_minute=3)
    other = world.replica(calls_per_minute=3)
    assert [await world.call(), await world.call(usage=other), await world.call()] == [
        '"calls";r=2;t=60',
        '"calls";r=1;t=60',
        '"calls";r=0;t=60',
    ]
    with pytest.raises(UsageLimitError, match="3 calls") as caught:
        await world.call(usage=other)
    headers = caught.value.headers
    assert headers["ratelimit-policy"] == '"calls";q=3;w=60'
    assert int(headers["retry-after"]) > 0
    await world.call(OTHER)
    await world.call(Caller())


@pytest.mark.parametrize("moment", [0.0, 20.0, 59.5])
@pytest.mark.parametrize("limit", [1, 2, 10, 100])
async def test_retry_after_that_is_obeyed_succeeds(moment: float, limit: int) -> None:
    world = World(calls_per_minute=limit)
    for _ in range(3):  # minutes that are used up as far as can be
        refused = 0
        world.time = (world.time // 60) * 60 + moment
        for _ in range(limit + 5):
            try:
                await world.call()
            except UsageLimitError as e:
                refused += 1
                seconds = int(e.headers["retry-after"])
        assert refused >= 5
        world.time += seconds
        await world.call()
        world.time += 60


async def test_more_than_a_minutes_calls_never_fit_into_a_minute() -> None:
    world = World(calls_per_minute=10)
    accepted: list[float] = []
    for step in range(1_200):
        world.time = 6_000 + step / 4
        try:
            await world.call()
        except UsageLimitError:
            continue
        accepted.append(world.time)
    most = max(sum(1 for at in accepted if start <= at < start + 60) for start in accepted)
    assert most <= 15, "a sliding minute bounds bursts; a fixed one lets twice the limit through"
    assert len(accepted) >= 40


async def test_calls_at_a_time_are_bounded_and_those_that_end_make_room() -> None:
    world = World(calls_at_a_time=1)
    going = asyncio.Event()

    async def long_call() -> None:
        async with world.usage.call(KEY):
            await going.wait()

    task = asyncio.create_task(long_call())
    await asyncio.sleep(0)
    with pytest.raises(UsageLimitError) as caught:
        await world.call()
    assert caught.value.code == "too_many_calls"
    await world.call(OTHER)
    async with world.usage.call(KEY, counted=False):
        pass
    going.set()
    await task
    await world.call()


async def test_quotas_end_with_the_day() -> None:
    world = World(generations_per_day=2, prompt_tokens_per_day=100)
    verify, spending = world.usage.verify_quota, world.usage.spending
    with calling(KEY):
        for tokens in (60, 10):
            await verify("generations", "prompt-tokens")
            async with spending({"generations": 1, "prompt-tokens": tokens}):
                pass
        with pytest.raises(UsageLimitError, match="2 generations") as caught:
            await verify("generations", "prompt-tokens")
        assert (caught.value.code, int(caught.value.headers["retry-after"])) == ("quota_used_up", 86_400 - 6_000)
        world.time += 86_400
        async with spending({"prompt-tokens": 100}):
            pass
        with pytest.raises(UsageLimitError, match=r"100 prompt tokens .* used up"):
            await verify("generations", "prompt-tokens")
    with calling(OTHER):
        await verify("generations", "prompt-tokens")


async def test_work_that_takes_more_than_is_left_is_refused_and_takes_nothing() -> None:
    world = World(generations_per_day=5, prompt_tokens_per_day=100)
    with calling(KEY):
        async with world.usage.spending({"generations": 1, "prompt-tokens": 60}):
            with pytest.raises(UsageLimitError, match="of which 40 are left, and this takes 41") as caught:
                async with world.usage.spending({"generations": 1, "prompt-tokens": 41}):
                    pass
        assert caught.value.headers["ratelimit"].startswith('"prompt-tokens";r=40;')
        async with world.usage.spending({"generations": 4, "prompt-tokens": 40}):
            pass


async def test_work_that_fails_costs_nothing_on_the_day_that_it_began() -> None:
    world = World(prompt_tokens_per_day=100)
    with calling(KEY):
        failing = world.usage.spending({"prompt-tokens": 100})
        await failing.__aenter__()
        world.time += 86_400
        assert not await failing.__aexit__(ZeroDivisionError, ZeroDivisionError(), None)
        for _ in range(2):
            async with world.usage.spending({"prompt-tokens": 100}):
                pass
            with pytest.raises(UsageLimitError):
                await world.usage.verify_quota("prompt-tokens")
            world.time -= 86_400


@pytest.mark.parametrize("kind", ["probes", "refinements", "imports"])
async def test_each_kind_of_work_has_a_quota_that_a_tenants_keys_share(kind: Quota) -> None:
    world = World(**{f"{kind}_per_day": 2})
    for caller in (Caller("one", tenant="acme"), Caller("two", tenant="acme")):
        with calling(caller):
            await world.usage.begin(kind)
    for caller in (Caller("one", tenant="acme"), Caller("three", tenant="acme")):
        with calling(caller), pytest.raises(UsageLimitError, match=f"2 {kind} of one tenant") as caught:
            await world.usage.begin(kind)
        assert caught.value.headers["ratelimit-policy"] == f'"{kind}";q=2;w=86400'
    # A key may be called as a tenant is.
    for caller in (Caller("acme"), Caller("four", tenant="other")):
        with calling(caller):
            await world.usage.begin(kind)


@pytest.mark.parametrize("kind", ["generations", "probes", "refinements", "imports"])
async def test_of_works_that_begin_at_once_no_more_do_than_the_quota_has_room_for(kind: Quota) -> None:
    world = World(**{f"{kind}_per_day": 3})
    replica = world.replica(**world.limits)
    with calling(KEY):
        both = (world.usage, replica)
        found = await asyncio.gather(*(both[n % 2].begin(kind) for n in range(10)), return_exceptions=True)
        assert found.count(None) == 3
        assert all(each is None or isinstance(each, UsageLimitError) for each in found)


async def test_tenant_takes_its_share_of_the_places_and_leaves_the_others_theirs() -> None:
    usage = usage_within(share_percent=50)
    one, two, other = Caller("one", tenant="acme"), Caller("two", tenant="acme"), Caller("three")
    with calling(one):
        give_back = usage.hold("probes", 4)
    with calling(two):
        usage.hold("probes", 4)
    for caller in (one, two):
        with calling(caller), pytest.raises(UsageLimitError, match="at most 2 probes") as caught:
            usage.hold("probes", 4)
        assert caught.value.code == "share_used_up"
        assert int(caught.value.headers["retry-after"]) > 0
    with calling(one):
        usage.hold("refinements", 1)  # one place is everybody's
        give_back()
        usage.hold("probes", 4)
    with calling(other):
        usage.hold("probes", 4)
    for _ in range(9):
        usage.hold("probes", 4)  # without a key there is no share


async def test_places_are_bounded_for_all_together_and_given_back_whatever_happens() -> None:
    usage = usage_within(share_percent=50, imports_per_day=2)
    with calling(KEY):
        async with usage.working("imports", 2):
            with calling(OTHER):
                async with usage.working("imports", 2):
                    with calling(Caller("third")), pytest.raises(OverloadedError):
                        async with usage.working("imports", 2):
                            pass
        with pytest.raises(ZeroDivisionError):
            async with usage.working("imports", 2):
                raise ZeroDivisionError
        with pytest.raises(UsageLimitError, match="used up"):
            async with usage.working("imports", 2):
                pass
    assert not usage._held


async def test_requests_that_come_at_once_get_no_more_than_the_quota(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path, authentication="keys", generations_per_day=2, probes_per_day=1)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        key = await Guarded(cloud, http).key(Scope.GENERATE)
        failed = await http.post("/generate-lora", json={"description": "CRASH"}, headers=key)
        assert failed.status_code == 500, "which costs nothing"
        tasks = ({"description": f"Sort {n}."} for n in range(6))
        answers = await asyncio.gather(*(http.post("/generate-lora", json=task, headers=key) for task in tasks))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429, 429]
        made = next(n for n, answer in enumerate(answers) if answer.status_code == 200)
        task = {"description": f"Sort {made}.", "probe": PROBE}
        answers = await asyncio.gather(*(http.post("/generate-lora", json=task, headers=key) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 429, 429]


async def test_requests_that_come_at_once_read_no_more_tokens_than_the_quota(
    tmp_path: Path, generator: FakeGenerator
) -> None:
    settings = settings_for(tmp_path, authentication="keys", prompt_tokens_per_day=10)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        key = await Guarded(cloud, http).key(Scope.GENERATE)
        failed = await http.post("/generate-lora", json={"description": "CRASH a b c d e"}, headers=key)
        assert failed.status_code == 500, "which costs nothing"
        generator.gate.clear()
        tasks = ({"description": f"Sort the mail by {n}."} for n in range(4))
        asked = [asyncio.create_task(http.post("/generate-lora", json=task, headers=key)) for task in tasks]
        await asyncio.wait(asked, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        generator.gate.set()
        answers = await asyncio.gather(*asked)
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]
        assert len(generator.prompts) == 3


async def test_limits_of_the_settings_hold_over_http(tmp_path: object, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path, authentication="keys", calls_per_minute=4, generations_per_day=1)  # type: ignore[arg-type]
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        key = await Guarded(cloud, http).key(Scope.GENERATE)
        first = await http.post("/generate-lora", json={"description": "Sort."}, headers=key)
        assert first.headers["ratelimit-policy"] == '"calls";q=4;w=60'
        again = await http.post("/generate-lora", json={"description": "Sort."}, headers=key)
        assert again.json()["cached"], "what the store has costs nothing"
        other = await http.post("/generate-lora", json={"description": "Sort the mail."}, headers=key)
        assert (other.status_code, other.json()["error"]["code"]) == (429, "quota_used_up")
        assert other.headers["ratelimit-policy"].startswith('"generations"')
        await http.post("/generate-lora", json={"description": "Sort."}, headers=key)
        refused = await http.post("/generate-lora", json={"description": "Sort."}, headers=key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) > 0
        assert generator.prompts == ["Sort."]
