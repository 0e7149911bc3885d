"""The command line against a running service."""

import asyncio
import json
from pathlib import Path

import pytest
import stamina
from stamina.instrumentation import set_on_retry_hooks
from typer.testing import CliRunner, Result

from cloud_service import cli
from loragen import AsyncCloudClient
from loragen.contract.bundle import content_id, parse_bundle
from loragen.contract.recipe import parse_recipe
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.test_server import running


async def _loragen(*arguments: object) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, cli.app, [str(argument) for argument in arguments])


async def test_generate_writes_bundle_and_recipe_and_publishes(tmp_path: Path, generator: FakeGenerator) -> None:
    task, bundle, recipe = tmp_path / "task.json", tmp_path / "out.safetensors", tmp_path / "out.recipe"
    task.write_text(json.dumps({"description": "Sort.", "examples": [{"input": "a", "output": "b"}]}))
    async with running(tmp_path, generator) as process:
        options = ("-o", bundle, "--recipe", recipe, "--publish", "kitchen/mail", "--url", process.url)
        outcome = await _loragen("generate", task, *options)
        assert outcome.exit_code == 0, outcome.output
        bundle_id = content_id(bundle.read_bytes())
        assert bundle_id in outcome.output
        assert parse_recipe(recipe.read_bytes()).generator_id == "fake"
        async with AsyncCloudClient(process.url) as cloud:
            published = (await cloud.channel("kitchen")).specializations
        assert {name: entry.bundle_id for name, entry in published.items()} == {"mail": bundle_id}

        outcome = await _loragen("publish", "kitchen", "post", bundle_id, "--url", process.url)
        assert outcome.exit_code == 0, outcome.output
        assert "version 2" in outcome.output


async def test_text_file_is_the_description(tmp_path: Path, generator: FakeGenerator) -> None:
    task = tmp_path / "task.txt"
    task.write_text("Sort the mail.\n")
    generator.residual_prompt_words = 3
    async with running(tmp_path, generator) as process:
        outcome = await _loragen("generate", task, "-o", tmp_path / "bundle", "--url", process.url)
    assert outcome.exit_code == 0, outcome.output
    assert "keeps in front of each chat: Sort the mail." in outcome.output
    assert generator.prompts == ["Sort the mail."]


async def test_choices_are_the_closed_set(tmp_path: Path, generator: FakeGenerator) -> None:
    task, bundle = tmp_path / "task.txt", tmp_path / "bundle"
    task.write_text("Sort the mail.\n")
    async with running(tmp_path, generator) as process:
        outcome = await _loragen("generate", task, "-o", bundle, "--choices", "spam, ham", "--url", process.url)
    assert outcome.exit_code == 0, outcome.output
    assert parse_bundle(bundle.read_bytes()).header.answer.choices == ("spam", "ham")


async def test_refusal_is_reported_with_its_hint_and_writes_nothing(tmp_path: Path, generator: FakeGenerator) -> None:
    task, bundle = tmp_path / "task.json", tmp_path / "bundle"
    task.write_text(json.dumps({"description": "a", "generator": "other"}))
    async with running(tmp_path, generator) as process:
        outcome = await _loragen("generate", task, "-o", bundle, "--url", process.url)
    assert outcome.exit_code == 1
    assert "other" in outcome.output
    assert "hint: loaded: fake" in outcome.output
    assert not bundle.exists()


@pytest.mark.parametrize("content", [b"\xff", b"{", b"[]"])
def test_task_file_that_is_none_is_reported(tmp_path: Path, content: bytes) -> None:
    task = tmp_path / "task.json"
    task.write_bytes(content)
    outcome = CliRunner().invoke(cli.app, ["generate", str(task), "-o", str(tmp_path / "bundle")])
    assert outcome.exit_code == 1
    assert outcome.output.startswith("error (invalid_request): ")


def test_service_that_is_down_is_reported_with_each_attempt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tmp_path / "task.txt"
    task.write_text("Sort.")
    with stamina.set_testing(True, attempts=2), pytest.raises(SystemExit, match="1"):
        cli.main("generate", str(task), "-o", str(tmp_path / "bundle"), "--url", "http://127.0.0.1:9")
    set_on_retry_hooks(None)
    again, error, _hint = capsys.readouterr().err.splitlines()
    assert "does not answer" in again
    assert "again in 0.0 s" in again
    assert error.startswith("error (unreachable): http://127.0.0.1:9 does not answer")


@pytest.mark.parametrize("target", ["peft", "gguf"])
async def test_export_writes_what_other_tools_load(tmp_path: Path, generator: FakeGenerator, target: str) -> None:
    task, bundle, output = tmp_path / "task.txt", tmp_path / "bundle", tmp_path / "exported"
    task.write_text("Sort.")
    async with running(tmp_path, generator) as process:
        await _loragen("generate", task, "-o", bundle, "--url", process.url)
    outcome = await _loragen("export", bundle, "-o", output, "--format", target)
    assert outcome.exit_code == 0, outcome.output
    if target == "peft":
        configuration = json.loads((output / "adapter_config.json").read_text())
        assert configuration["base_model_name_or_path"] == parse_bundle(bundle.read_bytes()).header.edge_model_id
    else:
        assert output.read_bytes().startswith(b"GGUF")


def test_export_of_a_damaged_bundle_is_reported(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.write_bytes(b"damaged")
    outcome = CliRunner().invoke(cli.app, ["export", str(bundle), "-o", str(tmp_path / "exported")])
    assert outcome.exit_code == 1
    assert outcome.output.startswith("error (invalid_format): ")
    assert not (tmp_path / "exported").exists()
