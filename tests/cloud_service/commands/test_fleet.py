"""`loragen channels`, `rollouts` and `devices` against a running service."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cloud_service.commands import main as cli
from loragen import AsyncCloudClient
from tests.cloud_service.commands.command_line import loragen
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.test_server import running


def _json(output: str) -> Any:
    """What a command printed, without the log of the service, which runs in this process."""
    lines = output.splitlines()
    first = next(number for number, line in enumerate(lines) if line in ("{", "[", "[]"))
    return json.loads("\n".join(lines[first:]))


async def test_channel_from_its_history_to_its_end(tmp_path: Path, generator: FakeGenerator) -> None:
    async with running(tmp_path, generator) as process, AsyncCloudClient(process.url) as cloud:
        first, second = [(await cloud.generate(text, publish="kitchen/mail")).id for text in ("first", "second")]

        async def output(*arguments: object, code: int = 0, as_json: bool = False) -> str:
            outcome = await loragen(*arguments, *(["--json"] if as_json else []), "--url", process.url)
            assert outcome.exit_code == code, outcome.output
            return outcome.output

        assert "kitchen" in await output("channels", "list")
        assert second in await output("channels", "show", "kitchen")
        shown = _json(await output("channels", "show", "kitchen", "--version", 1, as_json=True))
        assert (shown["version"], shown["specializations"][0]["bundle_id"]) == (1, first)
        assert f"mail is {first}" in await output("channels", "history", "kitchen")
        assert f"{first} -> {second}" in await output("channels", "diff", "kitchen", 1)
        assert "found version 2" in await output("channels", "rollback", "kitchen", 1, "--if-version", 7, code=1)
        assert "as version 3" in await output("channels", "rollback", "kitchen", 1, "--if-version", 2)

        started = await output("rollouts", "start", "kitchen", "mail", second, "--percent", 5, "--label", "ring=canary")
        assert "version 4" in started
        assert "running, 5 % of ring=canary" in started
        assert "50 % of all devices" in await output("rollouts", "widen", "kitchen", "--percent", 50)
        for command, state in (("pause", "paused"), ("resume", "running"), ("abort", "aborted (by request)")):
            assert f"{state}, " in await output("rollouts", command, "kitchen")
        await output("rollouts", "start", "kitchen", "--version", 2, "--at", "2020-01-01")
        assert _json(await output("rollouts", "promote", "kitchen", as_json=True))["state"] == "promoted"
        assert "promoted" in await output("rollouts", "show", "kitchen")
        assert "rollout_ended" in await output("rollouts", "pause", "kitchen", code=1)

        assert "0 devices, 0 failing: none" in await output("devices", "list", "--channel", "kitchen")
        empty = {"devices": [], "summary": None}
        assert _json(await output("devices", "list", "--failing", "--seen", 1, as_json=True)) == empty
        assert "device_not_found" in await output("devices", "delete", "kitchen", "toaster", code=1)

        assert "no mail any more" in await output("channels", "withdraw", "kitchen", "mail")
        assert "deleted" in await output("channels", "delete", "kitchen", "--yes")
        assert _json(await output("channels", "list", as_json=True)) == []
        events = await output("channels", "history", "kitchen", "--events")
        assert "delete" in events


@pytest.mark.parametrize(
    "arguments",
    [
        ["rollouts", "start", "kitchen", "mail", "x", "--label", "ring"],
        ["devices", "list", "--label", "Ring=x"],
    ],
)
def test_label_that_is_none_is_refused_at_once(arguments: list[str]) -> None:
    outcome = CliRunner().invoke(cli.app, [*arguments, "--url", "http://127.0.0.1:9"])
    assert outcome.exit_code == 1
    assert outcome.output.startswith("error (invalid_request): ")


def test_deletion_is_asked_about() -> None:
    outcome = CliRunner().invoke(cli.app, ["channels", "delete", "kitchen", "--url", "http://127.0.0.1:9"], input="n\n")
    assert outcome.exit_code == 1
    assert "with all its versions?" in outcome.output
