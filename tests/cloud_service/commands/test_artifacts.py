"""`loragen bundles` and `recipes` against a running service."""

from pathlib import Path

import pytest

from loragen import AsyncCloudClient
from tests.cloud_service.commands.command_line import loragen
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.test_server import running


async def test_bundle_and_recipe_are_deleted(tmp_path: Path, generator: FakeGenerator) -> None:
    async with running(tmp_path, generator) as process, AsyncCloudClient(process.url) as cloud:
        named = await cloud.generate("first", publish="kitchen/mail")
        refused = await loragen("bundles", "delete", named.id, "--yes", "--url", process.url)
        assert refused.exit_code == 1
        assert "'kitchen'" in refused.output
        for kind in ("bundles", "recipes"):
            made = await cloud.generate("second")
            for text, code in (("is deleted", 0), ("_not_found", 1)):
                outcome = await loragen(kind, "delete", made.id, "--yes", "--url", process.url)
                assert outcome.exit_code == code, outcome.output
                assert text in outcome.output


@pytest.mark.parametrize("kind", ["bundles", "recipes"])
async def test_deletion_asks_first(kind: str) -> None:
    outcome = await loragen(kind, "delete", "0" * 64, "--url", "http://127.0.0.1:9", given="n\n")
    assert outcome.exit_code == 1
    assert "Delete" in outcome.output
    assert "unreachable" not in outcome.output
