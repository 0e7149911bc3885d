"""The commands `loragen keys`, `loragen usage` and `loragen audit`."""

import asyncio
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cloud_service.access.scopes import Scope
from cloud_service.commands.options import DEFAULT_URL, AsJson, AsJsonLines, Url
from cloud_service.errors import InvalidRequestError
from loragen import CloudClient
from loragen.command_line import ConfigOption
from loragen.error_lines import reporting_errors
from loragen.key_answers import AuditedChange, KeySummary, MadeKey
from loragen.terminal_tables import print_table

if TYPE_CHECKING:
    from cloud_service.config import CloudSettings

keys_app = typer.Typer(no_args_is_help=True, help="Make, list, rotate and revoke API keys.")


_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_BOOTSTRAP_NAME = "first admin"


@keys_app.command()
def bootstrap(config: ConfigOption = None, json: AsJsonLines = False) -> None:
    """Make an admin key straight in the store, on the server's side: the first key, or one after all others are lost.

    Reads the settings of the service (LORAGEN_CLOUD_STORE_URL). A running service asks for keys within three seconds.
    """
    from cloud_service.config import CloudSettings

    with reporting_errors(exit_code=2):
        settings = CloudSettings.load(config)
        _show(asyncio.run(_bootstrap(settings)), json)


@keys_app.command()
def create(
    name: Annotated[str, typer.Argument(help="For people: who or what has the key.")],
    scope: Annotated[
        list[Scope] | None, typer.Option("--scope", "-s", help="What it is good for; may be given several times.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Whose it is; by default that of your own key.")] = "",
    device: Annotated[
        str, typer.Option(help="Makes a device's key, which speaks for this device only; * for any of the tenant.")
    ] = "",
    expires_in: Annotated[str, typer.Option(metavar="TIME", help="Such as 12h or 90d; by default never.")] = "",
    json: AsJsonLines = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Make an API key and show it, this once."""
    with reporting_errors(), CloudClient(url) as cloud:
        scopes = [Scope.DEVICE] if device and not scope else scope or []
        if not scopes:
            raise InvalidRequestError("expected --scope or --device", f"scopes are {', '.join(Scope)}")
        seconds = _seconds(expires_in) if expires_in else None
        _show(cloud.create_key(name, scopes, tenant=tenant, device=device, expires_in_seconds=seconds), json)


@keys_app.command(name="list")
def list_keys(json: AsJsonLines = False, url: Url = DEFAULT_URL) -> None:
    """List the API keys, without their secrets."""
    with reporting_errors(), CloudClient(url) as cloud:
        keys = sorted(_all_keys(cloud), key=lambda key: key.created_at)
    if json:
        for key in keys:
            typer.echo(key.model_dump_json())
        return
    columns = ("id", "name", "scopes", "tenant", "device", "state", "created", "expires")
    print_table(
        columns,
        [
            (
                key.id,
                key.name,
                " ".join(key.scopes),
                key.tenant,
                key.device,
                key.state,
                key.created_at,
                key.expires_at or "never",
            )
            for key in keys
        ],
    )


@keys_app.command()
def rotate(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `list` shows it.")],
    grace: Annotated[str, typer.Option(metavar="TIME", help="How long the old key is good beside the new one.")] = "1d",
    json: AsJsonLines = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Make a key like another one, which stays good for a while."""
    with reporting_errors(), CloudClient(url) as cloud:
        _show(cloud.rotate_key(key_id, grace_seconds=_seconds(grace)), json)


@keys_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key, as `list` shows it.")],
    json: AsJsonLines = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Let a key be refused, within seconds on every replica."""
    with reporting_errors(), CloudClient(url) as cloud:
        key = cloud.revoke_key(key_id)
    typer.echo(key.model_dump_json() if json else f"{key.id} ({key.name}) is {key.state}")


def audit(
    limit: Annotated[int, typer.Option(min=1, help="Most entries.")] = 100,
    json: AsJsonLines = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show who changed which channel or key, when and from where, the newest first."""
    with reporting_errors(), CloudClient(url) as cloud:
        entries: list[AuditedChange] = []
        before: int | None = None
        while len(entries) < limit:
            page = cloud.audit(before)
            entries += page.entries
            if page.next_before is None:
                break
            before = page.next_before
    entries = entries[:limit]
    if json:
        for entry in entries:
            typer.echo(entry.model_dump_json())
        return
    rows = [
        (entry.at, entry.key_name, entry.tenant, entry.address, entry.action, _describe(entry.target))
        for entry in entries
    ]
    print_table(("at", "by", "tenant", "from", "did", "to"), rows)


def usage(as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Show what the key's tenant, or the key itself, has used of its quotas and of its share of the store."""
    with reporting_errors(), CloudClient(url) as cloud:
        found = cloud.usage()
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    kinds = [*((f"{kind} today", used) for kind, used in found.today.items())]
    kinds += [(f"{kind} stored", used) for kind, used in found.stored.items()]
    if not kinds:
        typer.echo("nothing is counted for this key")
        return
    print_table(("what", "used", "most"), [(kind, str(each.used), str(each.most or "-")) for kind, each in kinds])


async def _bootstrap(settings: "CloudSettings") -> MadeKey:
    from cloud_service.access.control import AccessControl
    from cloud_service.access.key_service import KeyRequest
    from cloud_service.bootstrap import open_configured_store
    from cloud_service.http.access_routes import made_key

    store = open_configured_store(settings)
    try:
        keys = AccessControl.over(store.access).keys
        return made_key(*await keys.create(KeyRequest(_BOOTSTRAP_NAME, (Scope.ADMIN,))))
    finally:
        await store.aclose()


def _show(made: MadeKey, json: bool) -> None:
    if json:
        typer.echo(made.model_dump_json())
        return
    # The key alone goes to standard output: KEY=$(loragen keys create ...).
    about = made.about
    typer.echo(
        f"key {about.id} ({about.name}), good for {' '.join(about.scopes)}, expires: {about.expires_at or 'never'}; "
        "it is shown this once:",
        err=True,
    )
    typer.echo(made.key)


def _all_keys(cloud: CloudClient) -> Iterator[KeySummary]:
    after: str | None = ""
    while after is not None:
        page = cloud.keys(after)
        yield from page.keys
        after = page.next_after


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d{1,9})([smhd])", text, re.ASCII)
    if match is None:
        raise InvalidRequestError(f"expected a time such as 30m, 12h or 90d, found {text[:20]!r}")
    return int(match[1]) * _SECONDS[match[2]]


def _describe(target: dict[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in target.items())
