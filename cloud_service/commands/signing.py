"""The commands `loragen channels init` and `rotate`: the keys of signed channels, on the machine of their owner."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loragen.error_lines import reporting_errors

if TYPE_CHECKING:
    from cloud_service.signing.owner import Owned

_Name = Annotated[str, typer.Argument(help="Channel.")]
_Keys = Annotated[
    Path,
    typer.Option("--keys", help="Folder with the keys of each channel; keep it where the cloud cannot read it."),
]


class Role(StrEnum):
    """Who signs what."""

    root = "root"
    targets = "targets"
    snapshot = "snapshot"
    timestamp = "timestamp"


def init(name: _Name, keys: _Keys) -> None:
    """Make the keys of a channel, a root.json for its devices and a folder for the cloud service."""
    with reporting_errors():
        # Imported here: other commands do without TUF.
        from cloud_service.signing.owner import init_channel

        _show(name, init_channel(keys, name))


def rotate(
    name: _Name,
    keys: _Keys,
    roles: Annotated[
        list[Role] | None, typer.Argument(help="Whose keys are replaced; none only renews how long root is valid.")
    ] = None,
) -> None:
    """Replace and revoke keys: a new version of root, which devices follow by themselves."""
    with reporting_errors():
        from cloud_service.signing.owner import rotate_keys

        _show(name, rotate_keys(keys, name, [role.value for role in roles or []]))


def _show(name: str, owned: "Owned") -> None:
    typer.echo(f"channel {name}: root version {owned.version}")
    typer.echo(f"cloud service: copy {owned.cloud} to LORAGEN_CLOUD_SIGNING_DIR/{name}, whole")
    typer.echo(f"devices: LORAGEN_EDGE_CHANNEL={name}, LORAGEN_EDGE_TRUSTED_ROOT={owned.root}")
