"""Makes `docs/reference.md` from the settings classes, command lines and errors, or checks that it is what they give.

Run it through `make reference`; `make check` calls it with `--check`.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer
from pydantic import SecretStr
from pydantic_core import PydanticUndefined, to_jsonable_python

import cloud_service.commands.main
import cloud_service.config
import cloud_service.http.error_codes
import edge_runtime.cli
import edge_runtime.config
import edge_runtime.serving.error_codes
from cloud_service.errors import CloudError
from cloud_service.grpc.status import GRPC_STATUS
from loragen.settings import OTHER_VARIABLES, ServiceSettings
from loragen.web.error_reference import ErrorEntry

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "reference.md"
HEAD = """# Reference

<!-- Made by `make reference` from the settings classes, command lines and errors; `make check` finds drift. -->

Settings are environment variables. They may also stand in a YAML or TOML file, named by `--config FILE`, under the same
names in lower case and without the prefix; a variable wins over the file. An empty value counts as none.

```toml
# edge.toml, for `loragen-edge run --config edge.toml`
cloud_url = "https://loragen.example.com"
channel = "kitchen"
```

A value that is not valid, and a name that does not exist, stop the start with one line each.
"""


def render() -> str:
    """The whole document."""
    parts = [
        HEAD,
        "## Settings of the cloud service\n",
        *_settings(cloud_service.config.CloudSettings),
        "\n## Settings of the edge runtime\n",
        *_settings(edge_runtime.config.EdgeSettings),
        "\n## Other variables\n",
        "| variable | meaning |",
        "|---|---|",
        *(f"| `{name}` | {_cell(meaning)} |" for name, meaning in OTHER_VARIABLES.items()),
        "\n## Command line `loragen`\n",
        *_commands("loragen", cloud_service.commands.main.app),
        "\n## Command line `loragen-edge`\n",
        *_commands("loragen-edge", edge_runtime.cli.app),
        "\n## Errors of the cloud service\n",
        "Errors link to the same at `/errors` of the service. What has no gRPC status is HTTP's alone.\n",
        "| code | HTTP | gRPC | meaning |",
        "|---|---|---|---|",
        *(_error(each, _grpc_name(each)) for each in cloud_service.http.error_codes.ERROR_CODES),
        "\n## Errors of a device\n",
        "Those of updates are in its `/status`; the others are answers, and link to `/errors` of the device.\n",
        "| code | HTTP | meaning |",
        "|---|---|---|",
        *(_error(each) for each in edge_runtime.serving.error_codes.ERROR_CODES),
    ]
    return "\n".join(part.rstrip("\n") if part.startswith("|") else part for part in parts).rstrip() + "\n"


def _settings(settings: type[ServiceSettings]) -> Iterator[str]:
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    prefix = settings.model_config.get("env_prefix", "")
    for name, field in settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if default is PydanticUndefined:
            shown = "required"
        elif default is None:
            shown = "none"
        else:
            # A default is published here: it is no secret, even where a value may be.
            value = default.get_secret_value() if isinstance(default, SecretStr) else to_jsonable_python(default)
            shown = f"`{value if isinstance(value, str) else json.dumps(value)}`"
        kind = field.annotation
        choices: Sequence[object] = get_args(kind) if get_origin(kind) is Literal else ()
        if isinstance(kind, type) and issubclass(kind, Enum):
            choices = [each.value for each in kind]
        meaning = (field.description or "") + _one_of(choices)
        yield f"| `{(prefix + name).upper()}` | {_cell(shown)} | {_cell(meaning)} |"


def _error(entry: ErrorEntry, *more: str) -> str:
    return f"| `{entry.code}` | {entry.status} | {''.join(f'{each} | ' for each in more)}{_cell(entry.meaning)} |"


def _grpc_name(entry: ErrorEntry) -> str:
    # What the front of HTTP refuses has no counterpart.
    status = GRPC_STATUS.get(entry.error) if issubclass(entry.error, CloudError) else None
    return "" if status is None else f"`{status.name}`"


def _commands(program: str, app: typer.Typer) -> Iterator[str]:
    command = typer.main.get_command(app)
    # Typer turns an app of one command into that command.
    for name, each in _leaves("", command):
        usage = " ".join(part for part in (program, name) if part)
        arguments = [p for p in each.params if p.param_type_name == "argument"]
        options = [p for p in each.params if p.param_type_name == "option"]
        signature = " ".join(p.name.upper() for p in arguments)
        yield f"### `{' '.join(part for part in (usage, signature) if part)}`\n"
        yield f"{(each.help or '').strip()}\n"
        if arguments or options:
            yield "| parameter | default | meaning |"
            yield "|---|---|---|"
        for parameter in (*arguments, *options):
            label = _label(parameter) if parameter in options else parameter.name.upper()
            default = "required" if parameter.required else _default(parameter)
            kind = getattr(parameter, "type_descriptor", None)
            meaning = (getattr(parameter, "help", "") or "") + _one_of(getattr(kind, "choices", ()))
            meaning += f" Or the variable {parameter.envvar}." if parameter.envvar else ""
            yield f"| `{label}` | {_cell(default)} | {_cell(meaning)} |"
        if arguments or options:
            yield ""


def _leaves(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """The commands of a program that do something, by their names with those of the groups they are in."""
    commands = getattr(command, "commands", None)
    if not commands:
        yield path, command
        return
    for name, each in sorted(commands.items()):
        yield from _leaves(f"{path} {name}".strip(), each)


def _label(option: Any) -> str:
    """An option's names, and what stands behind them where it has a name of its own."""
    names = "/".join(", ".join(each) for each in (option.opts, option.secondary_opts) if each)
    return f"{names} {option.metavar}" if option.metavar else names


def _default(parameter: Any) -> str:
    # Where the service knows the default, the command line only shows it.
    if isinstance(shown := getattr(parameter, "show_default", None), str):
        return f"`{shown}`"
    value = parameter.default
    empty = (
        value is None or callable(value) or value in ((), "", False) or not isinstance(value, str | int | float | Path)
    )
    return "none" if empty else f"`{value}`"


def _one_of(choices: Sequence[object]) -> str:
    return f" One of {', '.join(map(str, choices))}." if choices else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or checks the document; 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    options = parser.parse_args(arguments)
    wanted = render()
    if options.check:
        stale = not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != wanted
        if stale:
            print("docs/reference.md is not what the code gives; run `make reference`", file=sys.stderr)
        return int(stale)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
