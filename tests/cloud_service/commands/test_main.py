"""The command line against a running service."""

import asyncio
import gc
import json
import sys
from pathlib import Path

import pytest
import stamina
from stamina.instrumentation import set_on_retry_hooks
from typer.testing import CliRunner

from cloud_service.commands import main as cli
from cloud_service.config import CloudSettings
from loragen import AsyncCloudClient
from loragen.contract.answer import AnswerContract
from loragen.contract.bundle import content_id, encode_bundle, parse_bundle
from loragen.contract.digest import model_digest
from loragen.contract.gguf_header import lay_out, read_header, text, uint32
from loragen.contract.peft_adapter import PeftAdapter, imported_bundle, read_adapter
from loragen.contract.recipe import parse_recipe
from tests.adapters import random_adapter
from tests.cloud_service.commands.command_line import loragen
from tests.cloud_service.fake_generator import LINEARS, SHAPE, FakeGenerator
from tests.cloud_service.test_server import running


async def test_generate_writes_bundle_and_recipe_and_publishes(tmp_path: Path, generator: FakeGenerator) -> None:
    task, bundle, recipe = tmp_path / "task.json", tmp_path / "out.safetensors", tmp_path / "out.recipe"
    task.write_text(json.dumps({"description": "Sort.", "examples": [{"input": "a", "output": "b"}]}))
    async with running(tmp_path, generator) as process:
        options = ("-o", bundle, "--recipe", recipe, "--publish", "kitchen/mail", "--url", process.url)
        outcome = await loragen("generate", task, *options)
        assert outcome.exit_code == 0, outcome.output
        bundle_id = content_id(bundle.read_bytes())
        assert bundle_id in outcome.output
        assert parse_recipe(recipe.read_bytes()).generator_id == "fake"
        async with AsyncCloudClient(process.url) as cloud:
            published = (await cloud.channel("kitchen")).specializations
        assert {name: entry.bundle_id for name, entry in published.items()} == {"mail": bundle_id}

        outcome = await loragen("publish", bundle_id, "--channel", "kitchen", "--name", "post", "--url", process.url)
        assert outcome.exit_code == 0, outcome.output
        assert "version 2" in outcome.output


async def test_text_file_is_the_description(tmp_path: Path, generator: FakeGenerator) -> None:
    task = tmp_path / "task.txt"
    task.write_text("Sort the mail.\n")
    generator.residual_prompt_words = 3
    async with running(tmp_path, generator) as process:
        outcome = await loragen("generate", task, "-o", tmp_path / "bundle", "--url", process.url)
    assert outcome.exit_code == 0, outcome.output
    assert "keeps in front of each chat: Sort the mail." in outcome.output
    assert generator.prompts == ["Sort the mail."]


@pytest.mark.parametrize("given", ["Sort the mail.\n", '\n{"description": "Sort the mail."}'])
async def test_task_may_come_by_standard_input_and_the_answer_be_json(
    tmp_path: Path, generator: FakeGenerator, given: str
) -> None:
    bundle = tmp_path / "bundle"
    async with running(tmp_path, generator) as process:
        outcome = await loragen("generate", "-", "-o", bundle, "--json", "--url", process.url, given=given)
        assert outcome.exit_code == 0, outcome.output
        assert f'"bundle_bytes": {bundle.stat().st_size}' in outcome.output
        bundle_id = content_id(bundle.read_bytes())
        options = ("--channel", "kitchen", "--name", "mail", "--json", "--url", process.url)
        published = await loragen("publish", bundle_id, *options)
    assert generator.prompts == ["Sort the mail."]
    fields = {"channel": "kitchen", "name": "mail", "bundle_id": bundle_id, "version": 1}
    assert json.dumps(fields, indent=2) in published.output


async def test_examples_are_tried_and_what_was_found_is_said(tmp_path: Path, generator: FakeGenerator) -> None:
    task, examples = tmp_path / "task.txt", tmp_path / "examples.jsonl"
    task.write_text("Repeat.")
    examples.write_text('{"input": "a", "output": "a"}\n{"input": "b", "output": "c"}\n')
    async with running(tmp_path, generator) as process:
        options = ("-o", tmp_path / "bundle", "--examples", examples, "--probe-examples", "--url", process.url)
        outcome = await loragen("generate", task, *options)
        assert outcome.exit_code == 0, outcome.output
        assert "inputs tried: 0% right without the LoRA, 50% with it" in outcome.output
        refused = await loragen("generate", task, *options, "--refine")
    assert refused.exit_code == 1
    assert "--probe-examples does not go with --refine" in refused.output


async def test_choices_are_the_closed_set(tmp_path: Path, generator: FakeGenerator) -> None:
    task, bundle = tmp_path / "task.txt", tmp_path / "bundle"
    task.write_text("Sort the mail.\n")
    async with running(tmp_path, generator) as process:
        outcome = await loragen("generate", task, "-o", bundle, "--choices", "spam, ham", "--url", process.url)
    assert outcome.exit_code == 0, outcome.output
    assert parse_bundle(bundle.read_bytes()).header.answer.choices == ("spam", "ham")


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A file of labelled examples, with an empty line at its end."""
    path = tmp_path / "examples.jsonl"
    # JSON may have a line separator in a text.
    labelled = [{"input": f"input\u2028{number}", "output": {"number": number}} for number in range(8)]
    lines = [json.dumps(each, ensure_ascii=False) for each in labelled]
    path.write_text("\n".join(lines) + "\n\n")
    return path


async def test_refined_bundle_is_written_and_published(
    tmp_path: Path, generator: FakeGenerator, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loragen.client.cloud.JOB_POLL_SECONDS", 0.05)
    task, bundle = tmp_path / "task.txt", tmp_path / "bundle"
    task.write_text("Write it.")
    options = ("-o", bundle, "--examples", examples, "--refine", "--steps", 20, "--budget", 90, "--publish", "c/n")
    async with running(tmp_path, generator) as process:
        outcome = await loragen("generate", task, *options, "--url", process.url)
        assert outcome.exit_code == 0, outcome.output
        assert "refined on 8 examples, 6 held out: right 25% -> 75%, loss 2.000 -> 0.500; kept" in outcome.output
        assert content_id(bundle.read_bytes()) in outcome.output
        async with AsyncCloudClient(process.url) as cloud:
            assert (await cloud.channel("c")).specializations["n"].bundle_id == content_id(bundle.read_bytes())


async def test_examples_come_with_a_request_without_refine_too(
    tmp_path: Path, generator: FakeGenerator, examples: Path
) -> None:
    task = tmp_path / "task.json"
    task.write_text(json.dumps({"description": "Write.", "examples": [{"input": "first", "output": "one"}]}))
    async with running(tmp_path, generator) as process:
        outcome = await loragen("generate", task, "-o", tmp_path / "b", "--examples", examples, "--url", process.url)
    assert outcome.exit_code == 0, outcome.output
    (prompt,) = generator.prompts
    assert prompt.count("Input:") == 9
    assert 'Output: {"number": 7}' in prompt


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"\xff", ["--refine"], "expected UTF-8"),
        (b"{", ["--refine"], "expected a JSON object on each line"),
        (b'{"input": "a", "input": "b"}', ["--refine"], "each key of an object once"),
        (b"", ["--steps", "5"], "--steps and --budget belong to --refine"),
    ],
)
def test_examples_that_cannot_be_read_are_reported(
    tmp_path: Path, content: bytes, options: list[str], message: str
) -> None:
    task, path = tmp_path / "task.txt", tmp_path / "examples.jsonl"
    task.write_text("Write.")
    path.write_bytes(content)
    arguments = ["generate", str(task), "-o", str(tmp_path / "b"), "--examples", str(path), *options]
    outcome = CliRunner().invoke(cli.app, arguments)
    assert outcome.exit_code == 1
    assert message in " ".join(outcome.output.split())


async def test_refusal_is_reported_with_its_hint_and_writes_nothing(tmp_path: Path, generator: FakeGenerator) -> None:
    task, bundle = tmp_path / "task.json", tmp_path / "bundle"
    task.write_text(json.dumps({"description": "a", "generator": "other"}))
    async with running(tmp_path, generator) as process:
        outcome = await loragen("generate", task, "-o", bundle, "--url", process.url)
    assert outcome.exit_code == 1
    assert "other" in outcome.output
    assert "hint: loaded: fake" in outcome.output
    assert not bundle.exists()


@pytest.mark.parametrize("content", [b"\xff", b"{", b"[]", b'{"description": "a", "description": "b"}'])
def test_task_file_that_is_none_is_reported(tmp_path: Path, content: bytes) -> None:
    task = tmp_path / "task.json"
    task.write_bytes(content)
    outcome = CliRunner().invoke(cli.app, ["generate", str(task), "-o", str(tmp_path / "bundle")])
    assert outcome.exit_code == 1
    assert outcome.output.startswith("error (invalid_request): ")


def test_task_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        outcome = CliRunner().invoke(cli.app, ["generate", str(path), "-o", str(tmp_path / "bundle")])
        assert outcome.exit_code == 1
        assert str(path) in "".join(outcome.output.split())


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


def _saved(directory: Path, adapter: PeftAdapter) -> Path:
    directory.mkdir()
    (directory / "adapter_config.json").write_bytes(adapter.config)
    (directory / "adapter_model.safetensors").write_bytes(adapter.weights)
    return directory


async def test_own_lora_is_published_and_comes_out_again(tmp_path: Path, generator: FakeGenerator) -> None:
    folder, answer = _saved(tmp_path / "mine", random_adapter(LINEARS)), tmp_path / "answer.json"
    answer.write_text('{"type": "choice", "choices": ["yes", "no"]}')
    target = ("--channel", "kitchen", "--name", "mails")
    async with running(tmp_path, generator) as process:
        outcome = await loragen("publish", "--adapter", folder, "--answer", answer, *target, "--url", process.url)
        assert outcome.exit_code == 0, outcome.output
        async with AsyncCloudClient(process.url) as cloud:
            entry = (await cloud.channel("kitchen")).specializations["mails"]
        assert entry.bundle_id in outcome.output
        outcome = await loragen("export", entry.bundle_id, "-o", tmp_path / "out", "--url", process.url)
        assert outcome.exit_code == 0, outcome.output
    exported = read_adapter(tmp_path / "out")
    assert content_id(exported.weights) == entry.bundle_id
    assert exported.answer.choices == ("yes", "no")


async def test_own_lora_that_no_bundle_holds_is_refused(tmp_path: Path, generator: FakeGenerator) -> None:
    folder = _saved(tmp_path / "mine", random_adapter(LINEARS, config={"modules_to_save": ["lm_head"]}))
    async with running(tmp_path, generator) as process:
        outcome = await loragen(
            "publish", "--adapter", folder, "--channel", "kitchen", "--name", "mails", "--url", process.url
        )
    assert outcome.exit_code == 1
    assert "modules_to_save" in outcome.output
    assert "hint: train without modules_to_save" in outcome.output
    assert "HTTP" not in outcome.output, "known before it is sent: such a file may be too large to be taken at all"


@pytest.mark.parametrize(
    "arguments", [(), ("0" * 64, "--adapter", "."), ("0" * 64, "--answer", __file__)], ids=["none", "both", "answer"]
)
def test_publishing_takes_a_bundle_or_an_adapter(arguments: tuple[str, ...]) -> None:
    outcome = CliRunner().invoke(cli.app, ["publish", "--channel", "c", "--name", "n", *arguments])
    assert outcome.exit_code == 1
    assert "error (invalid_request)" in outcome.output


async def test_export_to_peft_names_the_edge_model(tmp_path: Path, generator: FakeGenerator) -> None:
    task, bundle, output = tmp_path / "task.txt", tmp_path / "bundle", tmp_path / "exported"
    task.write_text("Sort.")
    async with running(tmp_path, generator) as process:
        await loragen("generate", task, "-o", bundle, "--url", process.url)
    outcome = await loragen("export", bundle, "-o", output)
    assert outcome.exit_code == 0, outcome.output
    configuration = json.loads((output / "adapter_config.json").read_text())
    assert configuration["base_model_name_or_path"] == parse_bundle(bundle.read_bytes()).header.edge_model_id


def _base(path: Path) -> Path:
    """A GGUF file with a header and no weights, of another architecture than most."""
    path.write_bytes(lay_out([], {"general.architecture": text("qwen2"), "qwen2.attention.head_count": uint32(4)})[0])
    return path


def test_gguf_adapter_is_for_the_architecture_of_its_model(tmp_path: Path) -> None:
    base = _base(tmp_path / "base.gguf")
    answer = AnswerContract("choice", ("yes", "no"), (5, 7))
    imported = imported_bundle(random_adapter(LINEARS, answer=answer), SHAPE, LINEARS, "tiny-edge", model_digest(base))
    (tmp_path / "bundle").write_bytes(encode_bundle(imported))
    output = tmp_path / "adapter.gguf"
    options = ["export", str(tmp_path / "bundle"), "--format", "gguf-adapter", "-o", str(output)]
    outcome = CliRunner().invoke(cli.app, [*options, "--base", str(base)])
    assert outcome.exit_code == 0, outcome.output
    assert "warning: this LoRA answers with code tokens" in outcome.output
    header = read_header(output)
    assert header.string("general.architecture") == "qwen2"
    assert "blk.1.attn_output.weight.lora_a" in {info.name for info in header.tensors}


def test_gguf_adapter_without_its_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_bytes(
        encode_bundle(imported_bundle(random_adapter(LINEARS), SHAPE, LINEARS, "tiny-edge", "a" * 64))
    )
    options = ["export", str(tmp_path / "bundle"), "--format", "gguf-adapter", "-o", str(tmp_path / "adapter.gguf")]
    for base in ([], ["--base", str(_base(tmp_path / "base.gguf"))], ["--base", str(tmp_path / "none.gguf")]):
        outcome = CliRunner().invoke(cli.app, [*options, *base])
        assert outcome.exit_code == 1
        assert outcome.output.startswith("error")
    assert not (tmp_path / "adapter.gguf").exists()


@pytest.mark.parametrize(("export_format", "is_folder"), [("gguf-merged", False), ("ollama", True)])
def test_whole_model_is_made_by_the_edge_runtimes_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, export_format: str, is_folder: bool
) -> None:
    """Found beside this Python first, or not installed."""
    base, bundle, seen = _base(tmp_path / "base.gguf"), tmp_path / "bundle", tmp_path / "seen"
    imported = imported_bundle(random_adapter(LINEARS), SHAPE, LINEARS, "tiny-edge", model_digest(base))
    bundle.write_bytes(encode_bundle(imported))
    program = tmp_path / "bin" / "loragen-edge"
    program.parent.mkdir()
    options = ["export", str(bundle), "--format", export_format, "-o", "out", "--base", str(base), "--type", "Q8_0"]
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = CliRunner().invoke(cli.app, options)
    assert outcome.exit_code == 1
    assert "loragen[edge]" in outcome.output
    program.write_text(f'#!/bin/sh\necho "$@" > {seen}; /bin/cat "$3" > {seen}.bundle; exit 3\n')
    program.chmod(0o755)
    assert CliRunner().invoke(cli.app, options).exit_code == 3
    merge, of, _, *rest = seen.read_text().split()
    assert (merge, of) == ("merge", str(base))
    assert rest == ["-o", "out", *(["--ollama"] if is_folder else []), "--type", "Q8_0"]
    assert seen.with_suffix(".bundle").read_bytes() == bundle.read_bytes()


def test_export_of_what_is_no_bundle_says_what_one_is(tmp_path: Path) -> None:
    for named in ("kitchen/mails", str(tmp_path)):
        outcome = CliRunner().invoke(cli.app, ["export", named, "-o", str(tmp_path / "out")])
        assert outcome.exit_code == 1
        assert "id of 64 digits" in outcome.output
        assert "--adapter" in outcome.output


def test_export_of_a_damaged_bundle_is_reported(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.write_bytes(b"damaged")
    outcome = CliRunner().invoke(cli.app, ["export", str(bundle), "-o", str(tmp_path / "exported")])
    assert outcome.exit_code == 1
    assert outcome.output.startswith("error (invalid_format): ")
    assert not (tmp_path / "exported").exists()


def test_service_looks_through_its_models_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection that does would stop all requests meanwhile."""
    loaded: list[object] = []
    seen: list[bool] = []

    def load(settings: CloudSettings) -> list[object]:
        loaded.append(["a model"])
        return loaded

    async def run(settings: CloudSettings, generators: list[object], stop: asyncio.Event) -> None:
        seen.append(any(each is loaded[0] for each in gc.get_objects()))

    monkeypatch.setattr("cloud_service.bootstrap.load_generators", load)
    monkeypatch.setattr("cloud_service.bootstrap.run", run)
    monkeypatch.setattr("loragen.web.server.end_process", lambda: None)
    monkeypatch.setattr("loragen.web.logs.configure_logging", lambda *arguments: None)
    try:
        outcome = CliRunner().invoke(cli.app, ["serve"], env={"LORAGEN_CLOUD_STORE_URL": f"sqlite:///{tmp_path}/s"})
    finally:
        gc.unfreeze()
    assert outcome.exit_code == 0, outcome.output
    assert seen == [False]
