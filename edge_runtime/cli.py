"""`loragen-edge`: run a device, see what it serves, command it, merge and convert without one.

Output is for people (`edge_runtime.screen`), or JSON for programs. An error is one line and a hint on standard error,
with exit status 1. Only `run` loads llama.cpp and the HTTP server, and it loads no more than a device needs.
"""

import edge_runtime.lean  # noqa: F401, I001 - before what it is for

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_runtime.commands import act_on_state, send
from edge_runtime.config import EdgeSettings
from edge_runtime.errors import EdgeError
from edge_runtime.gguf.base_gguf import find_base_gguf
from edge_runtime.gguf.quantization import FloatType, Quantization
from edge_runtime.updates.disk import DataDirectory
from edge_runtime.updates.history import read_history
from edge_runtime.updates.lock import is_locked
from edge_runtime.updates.state import Action, Command, StateFile
from loragen.client.errors import ClientError, RemoteError
from loragen.command_line import ConfigOption, VersionOption
from loragen.contract.names import verify_digest, verify_name
from loragen.error_lines import naming_extra, reporting_errors

app = typer.Typer(
    name="loragen-edge",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_STATUS_SECONDS = 5.0

SpecializationArgument = Annotated[str, typer.Argument(help="Specialization.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.callback()
def root(version: VersionOption = False) -> None:
    """Follows a LoRA-Gen channel, merges what it announces, and serves it."""


@app.command()
def run(config: ConfigOption = None) -> None:
    """Run the device until SIGTERM; settings are environment variables (LORAGEN_EDGE_...), or in a file."""
    from edge_runtime.device_process import run_process

    run_process(config)


@app.command()
def status(
    url: Annotated[str, typer.Option(help="Address of the running device; by default from the settings.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show what the device serves; when it does not run, what it would serve."""
    with reporting_errors():
        from edge_runtime import screen
        from edge_runtime.own_device import own_device, own_url

        settings = EdgeSettings.load(config)
        address = url or own_url(settings)
        try:
            with own_device(settings, address, _STATUS_SECONDS) as device:
                found = device.status()
            _print_json({"running": True, **asdict(found)}) if as_json else screen.show_status(found)
        except ClientError as error:
            running = is_locked(settings.data_dir)
            refused = isinstance(error, RemoteError) and error.status is not None
            if url or (refused and running):
                raise EdgeError(f"no device answers at {address}: {error}", error.hint) from error
            state, problem = StateFile(settings.data_dir / "state.json").peek()
            if as_json:
                _print_json({"running": running, "problem": problem, "state": state and asdict(state)})
                return
            who = "The device" if running else "No device"
            how = "runs, and does not answer" if running else "answers"
            screen.show_line(f"{who} {how} at {address}; this is what is on disk in {settings.data_dir}.")
            screen.show_state(state, problem)


@app.command()
def logs(
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many attempts, the newest last.")] = 20,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show what the device tried to change and how it ended, whether it runs or not.

    Reads the files in LORAGEN_EDGE_DATA_DIR.
    """
    with reporting_errors():
        attempts = read_history(DataDirectory(EdgeSettings.load(config).data_dir).history, lines)
        if as_json:
            _print_json(attempts)
            return
        from edge_runtime import screen

        screen.show_attempts(attempts)


@app.command()
def merge(
    base_gguf: Annotated[Path, typer.Argument(help="Base GGUF: a file, or package:NAME/PATH.")],
    bundle: Annotated[
        Path, typer.Argument(help="Bundle (.safetensors), or the folder of a PEFT adapter of your own.", exists=True)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Merged GGUF model to write; with --ollama a folder.")],
    quantization: Annotated[
        Quantization, typer.Option("--type", help="Quantization.", case_sensitive=False)
    ] = Quantization.Q4_K,
    cache: Annotated[
        Path | None, typer.Option(help="Directory that keeps quantized tensors which no LoRA touches.")
    ] = None,
    admit_digest: Annotated[
        str, typer.Option(help="Edge-model digest that a base GGUF without one in its metadata stands for.")
    ] = "",
    ollama: Annotated[
        bool, typer.Option("--ollama", help="Write a folder with the model and a Modelfile, for ollama create.")
    ] = False,
) -> None:
    """Merge a bundle or a PEFT adapter into a base GGUF and quantize the result, without a device or a cloud."""
    with reporting_errors():
        from edge_runtime import screen
        from edge_runtime.merge.merge_input import load_merge_input
        from edge_runtime.merge.merger import merge as merge_bundle
        from edge_runtime.merge.merger import verify_other_file
        from edge_runtime.merge.ollama import MODEL_FILE, make_modelfile, write_modelfile

        base = find_base_gguf(base_gguf)
        admitted = verify_digest(admit_digest) if admit_digest else None
        verify_other_file(output, bundle)
        parsed = load_merge_input(bundle, base, admitted)
        modelfile = make_modelfile(parsed.header) if ollama else None
        model = output / MODEL_FILE if ollama else output
        with screen.progress_bar(f"Merging {bundle.name[:24]}") as advance:
            report = merge_bundle(base, parsed, model, quantization, cache, advance, admitted)
        if modelfile is not None:
            write_modelfile(output, modelfile)
        screen.show_merge(output, report)
        if ollama and parsed.header.answer.codes:
            screen.warn(
                "This LoRA answers with code tokens, which only loragen-edge turns into the texts of the choices."
            )


@app.command()
def convert(
    model: Annotated[Path, typer.Argument(help="Hugging Face directory.", exists=True, file_okay=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Base GGUF to write.")],
    model_id: Annotated[str, typer.Option(help="Id of the edge model, as the generator knows it.")],
    matrix_type: Annotated[
        FloatType, typer.Option("--type", help="Type of the matrices.", case_sensitive=False)
    ] = FloatType.F16,
) -> None:
    """Make a base GGUF of a Hugging Face model; it carries the digest that bundles are bound to."""
    with reporting_errors():
        from edge_runtime import screen
        from edge_runtime.convert import convert_model

        with screen.progress_bar(f"Converting {model.name[:24]}") as advance:
            convert_model(model, output, matrix_type, model_id, advance)
        screen.show_line(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


@app.command()
def rollback(name: SpecializationArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Let the bundle before the newest one serve again; the newest is not installed again until another follows.

    Acts on the device whose files are in LORAGEN_EDGE_DATA_DIR, like `pin` and `unpin`.
    """
    _command("rollback", name, config, as_json)


@app.command()
def pin(name: SpecializationArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Let a specialization stay as it is, whatever the channel lists, until it is unpinned."""
    _command("pin", name, config, as_json)


@app.command()
def unpin(name: SpecializationArgument, as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """Let a pinned specialization follow the channel again."""
    _command("unpin", name, config, as_json)


@app.command()
def accept(
    channel: Annotated[str, typer.Argument(help="Channel.")],
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Follow a channel again that went back to an older version, as after a restored backup of the cloud's store.

    What the channel does not list is removed then, like at any other change of it.
    """
    _command("accept", channel, config, as_json)


def _command(action: Action, name: str, config: Path | None, as_json: bool) -> None:
    with reporting_errors():
        disk = DataDirectory(EdgeSettings.load(config).data_dir)
        command = Command(action, verify_name(name))
        running = is_locked(disk.root)
        outcome = send(disk.socket, command) if running else act_on_state(disk, command)
        if as_json:
            _print_json({"running": running, "message": outcome})
            return
        from edge_runtime import screen

        screen.show_line(
            f"{outcome}." if running else f"No device runs on {disk.root}; from its next start on, {outcome}."
        )


def main(*arguments: str) -> None:
    """Run `loragen-edge`, with the arguments of this process or with others."""
    # Around all of it: what a command prints may not fit the disk.
    with naming_extra("edge"), reporting_errors():
        app(arguments or None)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False))
