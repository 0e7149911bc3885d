"""The command line `loragen`: runs the service, and talks to a running one.

What commands do is done elsewhere; here they are spelled. Training is run from a checkout: `python -m training`.
"""

import asyncio
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from cloud_service.errors import InvalidRequestError
from loragen import CloudClient
from loragen.command_line import ConfigOption, VersionOption, naming_extra, reporting_errors
from loragen.contract.atomic import write_atomic
from loragen.contract.bundle import parse_bundle

app = typer.Typer(
    name="loragen",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_Url = Annotated[str, typer.Option("--url", envvar="LORAGEN_URL", help="Base URL of the service.")]
_DEFAULT_URL = "http://127.0.0.1:8080"


class ExportFormat(StrEnum):
    """What a bundle can be exported to."""

    peft = "peft"
    gguf = "gguf"


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
        from loragen.web.logs import configure_logging
        from loragen.web.server import end_process, stop_on_signals

        configure_logging(settings.log_level, settings.log_format)
        generators = load_generators(settings)

        async def main() -> None:
            with stop_on_signals() as stop:
                await run(settings, generators, stop)

        asyncio.run(main())
    end_process()


@app.command()
def generate(
    task: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="The request as .json, or a text: the description.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", dir_okay=False, help="Where to write the bundle.")],
    recipe: Annotated[Path | None, typer.Option(dir_okay=False, help="Where to write the recipe.")] = None,
    publish: Annotated[str | None, typer.Option(metavar="CHANNEL/NAME", help="Publish the bundle there.")] = None,
    choices: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="The closed set of answers, with commas between them.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a task with a confidence below 0.5.")] = False,
    url: _Url = _DEFAULT_URL,
) -> None:
    """Generate a LoRA for a task on a running service, and write the bundle."""
    with reporting_errors(), CloudClient(url) as cloud:
        request = _read_task(task)
        if choices is not None:
            request["answer"] = {"type": "choice", "choices": [choice.strip() for choice in choices.split(",")]}
        answer = cloud.generate(request, publish=publish, strict=strict)
        write_atomic(output, cloud.bundle(answer.id))
        if recipe is not None:
            write_atomic(recipe, cloud.recipe(answer.recipe_id))
    source = "cached" if answer.cached else f"generated in {answer.timings.total_ms:.0f} ms"
    typer.echo(f"bundle {answer.id}")
    typer.echo(f"{answer.bundle_bytes} bytes, recipe {answer.recipe_bytes} bytes, {source}")
    typer.echo(f"saves {answer.tokens_saved_per_call} prompt tokens a call")
    if answer.residual_prompt:
        typer.echo(f"keeps in front of each chat: {answer.residual_prompt}")
    if answer.confidence is not None:
        typer.echo(f"confidence {answer.confidence:.2f}")
    for warning in answer.warnings:
        typer.echo(f"warning: {warning.message}", err=True)


@app.command()
def publish(
    channel: Annotated[str, typer.Argument(help="Channel that devices follow.")],
    name: Annotated[str, typer.Argument(help="Name that devices serve it under.")],
    bundle_id: Annotated[str, typer.Argument(help="Id of a bundle that the service generated.")],
    url: _Url = _DEFAULT_URL,
) -> None:
    """Publish a bundle in a channel of a running service."""
    with reporting_errors(), CloudClient(url) as cloud:
        version = cloud.publish(channel, name, bundle_id).version
    typer.echo(f"{channel}/{name} is {bundle_id}; the channel is at version {version}")


@app.command()
def export(
    bundle: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A bundle file.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory for peft, file for gguf.")],
    export_format: Annotated[ExportFormat, typer.Option("--format", help="Kind of file.")] = ExportFormat.peft,
    base_model: Annotated[str, typer.Option(help="Base model that the PEFT configuration names.")] = "",
    architecture: Annotated[str, typer.Option(help="Architecture of the base model's GGUF file.")] = "llama",
) -> None:
    """Export a bundle to a PEFT directory or to a GGUF adapter."""
    from loragen.contract.gguf_adapter import write_gguf_adapter
    from loragen.contract.peft import export_peft

    with reporting_errors():
        parsed = parse_bundle(bundle.read_bytes())
        if export_format is ExportFormat.peft:
            export_peft(parsed, output, base_model or parsed.header.edge_model_id)
        else:
            write_gguf_adapter(parsed, output, architecture)
    typer.echo(f"wrote {output}")


def main(*arguments: str) -> None:
    """Run `loragen`, with the arguments of this process or with others."""
    set_on_retry_hooks([_report_retry])
    with naming_extra("cloud"):
        app(arguments or None)


def _report_retry(details: RetryDetails) -> None:
    typer.echo(f"{details.caused_by}; again in {details.wait_for:.1f} s", err=True)


def _read_task(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        request = json.loads(text) if path.suffix == ".json" else {"description": text}
    except UnicodeDecodeError as e:
        raise InvalidRequestError(f"{path}: expected UTF-8, found {e.reason} at byte {e.start}") from e
    except ValueError as e:
        raise InvalidRequestError(f"{path}: expected JSON: {e}", "name the file .txt if it is the description") from e
    if not isinstance(request, dict):
        raise InvalidRequestError(f"{path}: expected a JSON object, found {type(request).__name__}")
    return request
