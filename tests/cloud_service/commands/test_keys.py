"""`loragen keys` and `loragen audit` against a running service."""

import json
from pathlib import Path

import pytest
from typer.testing import Result

from tests.cloud_service.commands.command_line import loragen
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.test_server import running


def _printed(outcome: Result) -> list[str]:
    """What the command printed; the service in this process writes its log there too."""
    return [line for line in outcome.stdout.splitlines() if line.startswith(("{", "loragen_"))]


async def test_first_key_is_made_in_the_store_and_makes_the_others(tmp_path: Path, generator: FakeGenerator) -> None:
    store = f"sqlite:///{tmp_path / 'store.sqlite3'}"
    async with running(tmp_path, generator, authentication="keys") as process:
        refused = await loragen("keys", "list", "--url", process.url)
        assert refused.exit_code == 1
        assert "API key" in refused.output
        (root,) = _printed(await loragen("keys", "bootstrap", store=store))
        made = await loragen("keys", "create", "build", "-s", "generate", "--json", "--url", process.url, key=root)
        assert made.exit_code == 0, made.output
        build = json.loads(_printed(made)[0])
        device = await loragen(
            "keys", "create", "a", "--device", "dev-1", "--expires-in", "90d", "--url", process.url, key=root
        )
        (key,) = _printed(device)
        assert len(key.split()) == 1, "the key alone is on standard output"
        listed = await loragen("keys", "list", "--url", process.url, key=root)
        assert "dev-1" in listed.output
        assert build["key"] not in listed.output
        refused = await loragen("keys", "list", "--url", process.url, key=build["key"])
        assert "scope admin" in refused.output

        key_id = build["about"]["id"]
        rotated = await loragen("keys", "rotate", key_id, "--grace", "1h", "--url", process.url, key=root)
        assert len(_printed(rotated)) == 1
        revoked = await loragen("keys", "revoke", key_id, "--url", process.url, key=root)
        assert "is revoked" in revoked.output
        again = await loragen("keys", "revoke", key_id, "--json", "--url", process.url, key=root)
        assert json.loads(_printed(again)[0])["state"] == "revoked"
        audit = await loragen("audit", "--json", "--url", process.url, key=root)
        lines = [json.loads(line) for line in _printed(audit)]
        assert [line["action"] for line in lines][:3] == ["key.revoke", "key.revoke", "key.rotate"]
        assert lines[0]["key_name"] == "first admin"
        assert lines[0]["address"] == "127.0.0.1"
        table = await loragen("audit", "--limit", "1", "--url", process.url, key=root)
        assert "key.revoke" in table.output
        assert "key.rotate" not in table.output
        usage = await loragen("usage", "--url", process.url, key=root)
        assert "nothing is counted" in usage.output
        of_tenant = _printed(
            await loragen("keys", "create", "b", "-s", "read", "--tenant", "acme", "--url", process.url, key=root)
        )[0]
        usage = await loragen("usage", "--url", process.url, key=of_tenant)
        assert "bytes stored" in usage.output
        usage = await loragen("usage", "--json", "--url", process.url, key=of_tenant)
        assert json.loads(usage.output[usage.output.index("{\n") :])["stored"]["devices"] == {
            "used": 0,
            "most": 100_000,
        }


@pytest.mark.parametrize(
    "arguments",
    [
        ("create", "a"),
        ("create", "a", "-s", "root"),
        ("create", "a", "-s", "read", "--expires-in", "soon"),
        ("rotate", "0" * 12, "--grace", "-1s"),
    ],
)
async def test_bad_arguments_are_refused(arguments: tuple[str, ...]) -> None:
    outcome = await loragen("keys", *arguments, "--url", "http://127.0.0.1:9")
    assert outcome.exit_code in (1, 2)
    assert "does not answer" not in outcome.output


async def test_bootstrap_of_a_store_that_is_none_is_refused() -> None:
    outcome = await loragen("keys", "bootstrap", store="nonsense")
    assert outcome.exit_code == 2
