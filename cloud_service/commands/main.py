"""The command line `loragen`: runs the service, and talks to a running one.

What commands do is done elsewhere; here they are spelled. Training is run from a checkout: `python -m training`.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from cloud_service.commands.artifacts import bundles_app, recipes_app
from cloud_service.commands.fleet import channels_app, devices_app, rollouts_app
from cloud_service.commands.jobs import describe_refinement, jobs_app, wait_with_bar
from cloud_service.commands.keys import audit, keys_app, usage
from cloud_service.commands.options import DEFAULT_URL, AsJson, Url
from cloud_service.commands.signing import init, rotate
from cloud_service.errors import InvalidRequestError
from loragen import CloudClient
from loragen.command_line import ConfigOption, VersionOption
from loragen.contract.atomic import write_atomic
from loragen.contract.bundle import BundleHeader, content_id, parse_bundle
from loragen.contract.digest import model_digest
from loragen.contract.errors import ContractError
from loragen.contract.gguf_adapter import GgufModel, write_gguf_adapter
from loragen.contract.gguf_header import read_header
from loragen.contract.limits import MAX_BUNDLE_BYTES
from loragen.contract.names import DIGEST_PATTERN
from loragen.contract.peft import export_peft
from loragen.contract.peft_adapter import read_adapter, read_answer_file
from loragen.contract.strict_json import load_strict_json
from loragen.error_lines import naming_extra, reporting_errors
from loragen.packages import PackagedModelError, find_packaged_model, is_package_reference
from loragen.visible_text import visible

app = typer.Typer(
    name="loragen",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.add_typer(jobs_app, name="jobs")
app.add_typer(bundles_app, name="bundles")
app.add_typer(recipes_app, name="recipes")
app.add_typer(channels_app, name="channels")
app.add_typer(rollouts_app, name="rollouts")
app.add_typer(devices_app, name="devices")
for _command in (init, rotate):
    channels_app.command()(_command)
app.add_typer(keys_app, name="keys")
app.command()(audit)
app.command()(usage)


class ExportFormat(StrEnum):
    """What a bundle can be exported to."""

    peft = "peft"
    gguf_adapter = "gguf-adapter"
    gguf_merged = "gguf-merged"
    ollama = "ollama"


@app.callback()
def root(version: VersionOption = False) -> None:
    """Turn task descriptions into LoRA weights for small on-device language models."""


@app.command()
def serve(config: ConfigOption = None) -> None:
    """Run the cloud service, HTTP and gRPC; settings are environment variables (LORAGEN_CLOUD_...), or in a file."""
    # Imported here, so that commands that only talk to a service start fast, and bad settings are reported at once.
    from cloud_service.config import CloudSettings

    with reporting_errors(exit_code=2):
        settings = CloudSettings.load(config)

        from cloud_service.bootstrap import load_generators, run
        from loragen.collector import pass_over_loaded
        from loragen.signals import stop_on_signals
        from loragen.web.logs import configure_logging
        from loragen.web.server import end_process
        from loragen.web.tracing import exporting_traces

        configure_logging(settings.log_level, settings.log_format)
        generators = load_generators(settings)
        pass_over_loaded()

        async def main() -> None:
            with stop_on_signals() as stop:
                await run(settings, generators, stop)

        with exporting_traces("loragen-cloud"):
            asyncio.run(main())
    end_process()


@app.command()
def generate(
    task: Annotated[
        Path,
        typer.Argument(
            help="The request as .json, or a text: the description; - for standard input, JSON or a text.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False, help="Where to write the bundle.")],
    recipe: Annotated[Path | None, typer.Option(dir_okay=False, help="Where to write the recipe.")] = None,
    publish: Annotated[
        str | None, typer.Option(metavar="CHANNEL/NAME", help="Publish the bundle under this name.")
    ] = None,
    choices: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="The closed set of answers, with commas between them.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a task with a confidence below 0.5.")] = False,
    examples: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help='Labelled examples, a line {"input": ..., "output": ...} each.'),
    ] = None,
    probe_examples: Annotated[
        bool,
        typer.Option(
            "--probe-examples", help="Try the edge model on the examples, each with a LoRA that is made without it."
        ),
    ] = False,
    refine: Annotated[bool, typer.Option("--refine", help="Tune the LoRA on the examples, as a job.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Most steps of --refine.", show_default="60")] = None,
    budget: Annotated[
        float | None, typer.Option(min=1, help="Longest time of --refine, in seconds.", show_default="30")
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Generate a LoRA for a task on a running service, and write the bundle."""
    with reporting_errors(), CloudClient(url) as cloud:
        request = _read_task(task)
        if choices is not None:
            request["answer"] = {"type": "choice", "choices": [choice.strip() for choice in choices.split(",")]}
        if examples is not None:
            request["examples"] = [*request.get("examples", []), *_read_examples(examples)]
        if refine and probe_examples:
            raise InvalidRequestError("--probe-examples does not go with --refine, which holds out examples itself")
        if refine:
            plan = {name: value for name, value in (("steps", steps), ("budget_seconds", budget)) if value is not None}
            answer = wait_with_bar(cloud, cloud.start_job(request, refine=plan, publish=publish, strict=strict).id)
        elif steps is not None or budget is not None:
            raise InvalidRequestError("--steps and --budget belong to --refine")
        else:
            answer = cloud.generate(request, publish=publish, strict=strict, probe_examples=probe_examples)
        bundle = cloud.bundle(answer.id)
        write_atomic(output, bundle)
        if recipe is not None:
            write_atomic(recipe, cloud.recipe(answer.recipe_id))
    if as_json:
        typer.echo(answer.model_dump_json(indent=2))
        return
    source = "cached" if answer.cached else f"generated in {answer.timings.total_ms:.0f} ms"
    typer.echo(f"bundle {content_id(bundle)}")
    typer.echo(f"{answer.bundle_bytes} bytes, recipe {answer.recipe_bytes} bytes, {source}")
    typer.echo(f"saves {answer.tokens_saved_per_call} prompt tokens a call")
    if answer.residual_prompt:
        typer.echo(f"keeps in front of each chat: {visible(answer.residual_prompt)}")
    if answer.confidence is not None:
        typer.echo(f"confidence {answer.confidence:.2f}")
    if answer.probe is not None:
        scores = answer.probe.base.exact_match, answer.probe.specialized.exact_match
        typer.echo("inputs tried: {:.0%} right without the LoRA, {:.0%} with it".format(*scores))
    if answer.refinement is not None:
        typer.echo(describe_refinement(answer.refinement))
    for warning in answer.warnings:
        typer.echo(f"warning: {visible(warning.message)}", err=True)


@app.command()
def publish(
    channel: Annotated[str, typer.Option(help="Channel that devices follow.")],
    name: Annotated[str, typer.Option(help="Name that devices serve it under.")],
    bundle_id: Annotated[str | None, typer.Argument(help="Id of a bundle that the service has.")] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(exists=True, help="A LoRA of your own instead: a PEFT folder, or its adapter_model.safetensors."),
    ] = None,
    answer: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Answer contract for it, JSON; by default answer.json beside the adapter."
        ),
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Publish a bundle, or a LoRA of your own, in a channel of a running service."""
    with reporting_errors(), CloudClient(url) as cloud:
        if (bundle_id is None) == (adapter is None):
            raise InvalidRequestError("expected the id of a bundle or --adapter, and not both")
        if adapter is not None:
            own = read_adapter(adapter)
            own = own if answer is None else replace(own, answer=read_answer_file(answer))
            bundle_id = cloud.import_adapter(own, publish=f"{channel}/{name}").id
            version = cloud.channel(channel).version
        elif answer is not None:
            raise InvalidRequestError("--answer belongs to --adapter: a bundle has its answer contract already")
        else:
            assert bundle_id is not None
            version = cloud.publish(channel, name, bundle_id).version
    fields = {"channel": channel, "name": name, "bundle_id": bundle_id, "version": version}
    line = f"{channel}/{name} is {bundle_id}; the channel is at version {version}"
    typer.echo(json.dumps(fields, indent=2) if as_json else line)


@app.command()
def export(
    bundle: Annotated[str, typer.Argument(help="A bundle file, or the id of a bundle of a running service.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for peft and ollama, else a file.")],
    export_format: Annotated[ExportFormat, typer.Option("--format", help="Kind of file.")] = ExportFormat.peft,
    base: Annotated[
        Path | None,
        typer.Option(help="GGUF file of the edge model, or package:NAME/PATH; for all formats but peft."),
    ] = None,
    quantization: Annotated[
        str | None, typer.Option("--type", help="Quantization of gguf-merged and ollama.", show_default="Q4_K")
    ] = None,
    base_model: Annotated[str, typer.Option(help="Base model that the PEFT configuration names.")] = "",
    url: Url = DEFAULT_URL,
) -> None:
    """Export a bundle: for PEFT, for llama.cpp, or merged into its edge model, alone or as a folder for Ollama.

    Whole models are made by `loragen-edge merge`, which takes a bundle's file, or a PEFT adapter, too.
    """
    with reporting_errors():
        content = _load_bundle(bundle, url)
        parsed = parse_bundle(content)
        header = parsed.header
        if export_format is ExportFormat.peft:
            export_peft(parsed, output, base_model or header.edge_model_id)
        else:
            gguf, model = _gguf_model(base, header, export_format)
            if export_format is not ExportFormat.gguf_adapter:
                _merge(content, gguf, output, quantization, is_folder=export_format is ExportFormat.ollama)
                return
            write_gguf_adapter(parsed, output, model)
    typer.echo(f"wrote {output}")
    if header.answer.codes:
        typer.echo(
            "warning: this LoRA answers with code tokens, which only loragen-edge turns into the texts of the choices",
            err=True,
        )


def _load_bundle(bundle: str, url: str) -> bytes:
    path = Path(bundle)
    if not path.exists() and re.fullmatch(DIGEST_PATTERN, bundle):
        with CloudClient(url) as cloud:
            return cloud.bundle(bundle)
    if not path.is_file():
        raise InvalidRequestError(
            f"expected a bundle's file, or its id of 64 digits 0-9 a-f, found {bundle!r}",
            "loragen generate writes such a file; loragen publish --adapter makes a bundle of a PEFT folder",
        )
    with path.open("rb") as file:
        return file.read(MAX_BUNDLE_BYTES + 1)  # one byte too many is refused by the parser


def _merge(bundle: bytes, base: Path, output: Path, quantization: str | None, *, is_folder: bool) -> None:
    """Let `loragen-edge merge` make a whole model: how is the edge runtime's to know."""
    program = which("loragen-edge", path=os.pathsep.join((str(Path(sys.executable).parent), *os.get_exec_path())))
    if program is None:
        raise InvalidRequestError(
            "gguf-merged and ollama need loragen-edge, which is not installed here",
            "pip install 'loragen[edge]', or export to peft and call loragen-edge merge where it is",
        )
    with TemporaryDirectory() as folder:
        file = Path(folder) / "bundle.safetensors"
        file.write_bytes(bundle)
        options = [*(["--ollama"] if is_folder else []), *([] if quantization is None else ["--type", quantization])]
        done = subprocess.run([program, "merge", str(base), str(file), "-o", str(output), *options], check=False)
    if done.returncode:
        raise typer.Exit(done.returncode)


def _gguf_model(base: Path | None, header: BundleHeader, export_format: ExportFormat) -> tuple[Path, GgufModel]:
    """A GGUF file of the edge model of a bundle, and how llama.cpp has that model."""
    if base is None:
        raise InvalidRequestError(
            f"{export_format} needs --base: the architecture, and what is merged into, is that of the model",
            f"name the GGUF file of {header.edge_model_id} that the bundle is for",
        )
    try:
        path = find_packaged_model(base) if is_package_reference(base) else base
    except PackagedModelError as e:
        raise InvalidRequestError(str(e), e.hint) from e
    digest = model_digest(path)
    if digest != header.edge_model_digest:
        raise InvalidRequestError(
            f"the bundle is for {header.edge_model_id} ({header.edge_model_digest}), {path.name} is another model "
            f"({digest})",
            "name the GGUF file that the bundle's edge model is, or that loragen-edge convert made of it",
        )
    return path, GgufModel.of(read_header(path))


def _read_examples(path: Path) -> list[Any]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # JSON may have other ends of lines inside
        return [load_strict_json(line) for line in lines if line.strip()]
    except UnicodeDecodeError as e:
        raise InvalidRequestError(f"{path}: expected UTF-8, found {e.reason} at byte {e.start}") from e
    except ContractError as e:
        raise InvalidRequestError(f"{path}: expected a JSON object on each line: {e}") from e


def main(*arguments: str) -> None:
    """Run `loragen`, with the arguments of this process or with others."""
    set_on_retry_hooks([_report_retry])
    # Around all of it: what a command prints may not fit the disk.
    with naming_extra("cloud"), reporting_errors():
        app(arguments or None)


def _report_retry(details: RetryDetails) -> None:
    typer.echo(f"{details.caused_by}; again in {details.wait_for:.1f} s", err=True)


def _read_task(path: Path) -> dict[str, Any]:
    is_given = path == Path("-")
    try:
        text = sys.stdin.buffer.read().decode() if is_given else path.read_text(encoding="utf-8")
        is_json = text.lstrip().startswith("{") if is_given else path.suffix == ".json"
        request = load_strict_json(text) if is_json else {"description": text}
    except UnicodeDecodeError as e:
        raise InvalidRequestError(f"{path}: expected UTF-8, found {e.reason} at byte {e.start}") from e
    except ContractError as e:
        raise InvalidRequestError(f"{path}: {e}", "name the file .txt if it is the description") from e
    if not isinstance(request, dict):
        raise InvalidRequestError(f"{path}: expected a JSON object, found {type(request).__name__}")
    return request
