"""The command line's `channels`, `rollouts` and `devices`: they talk to a running service.

With `--json` each prints what the service answered, for programs; otherwise a table or a line for people.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter

from cloud_service.commands.options import DEFAULT_URL, AsJson, Url, Yes
from cloud_service.errors import InvalidRequestError
from loragen import CloudClient
from loragen.client.cloud_answers import ChannelSnapshot
from loragen.contract.errors import ContractError
from loragen.contract.polling import format_labels, parse_labels
from loragen.error_lines import reporting_errors
from loragen.fleet_answers import RolloutStatus
from loragen.terminal_tables import print_table
from loragen.visible_text import visible

channels_app = typer.Typer(no_args_is_help=True, help="List channels, see their history, and go back.")
rollouts_app = typer.Typer(no_args_is_help=True, help="Bring a change to some devices first.")
devices_app = typer.Typer(no_args_is_help=True, help="See what devices report.")

_Channel = Annotated[str, typer.Argument(help="Name of the channel.")]
_IfVersion = Annotated[
    int | None, typer.Option("--if-version", help="Only while the channel is at this version; else nothing changes.")
]
_Label = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME=VALUE", help="A label that devices must have; may be repeated."),
]
_Percent = Annotated[
    float, typer.Option("--percent", min=0.01, max=100, help="Of the devices with these labels, so many in a hundred.")
]
_Rollout = Annotated[
    int | None, typer.Option("--rollout", metavar="VERSION", help="By default the channel's last rollout.")
]


@channels_app.command("list")
def list_channels(as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """List the channels."""
    with reporting_errors(), CloudClient(url) as cloud:
        page = cloud.channels()
        found = list(page.channels)
        while page.next_after is not None:
            page = cloud.channels(page.next_after)
            found += page.channels
    rows = ((each.name, each.version, each.changed_at, "rollout" if each.rollout else "") for each in found)
    _show(found, as_json, ("channel", "version", "changed", ""), rows)


@channels_app.command("show")
def show_channel(
    channel: _Channel,
    version: Annotated[int | None, typer.Option(help="As it was at this version.")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show what a channel lists."""
    with reporting_errors(), CloudClient(url) as cloud:
        found = cloud.channel(channel) if version is None else cloud.channel_at(channel, version)
    if not as_json:
        typer.echo(f"{found.name}, version {found.version}")
    entries = found.specializations.values()
    rows = ((each.name, each.bundle_id, each.edge_model_id, each.bundle_bytes) for each in entries)
    _show(_plain(found), as_json, ("name", "bundle", "edge model", "bytes"), rows)


@channels_app.command("history")
def history(
    channel: _Channel,
    events: Annotated[bool, typer.Option("--events", help="Everything that was done, not versions alone.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show the versions of a channel that are kept, and what made them."""
    with reporting_errors(), CloudClient(url) as cloud:
        if events:
            done = cloud.events(channel)
            rows: Iterable[Sequence[object]] = ((each.version, each.at, each.action, each.detail) for each in done)
            _show(done, as_json, ("version", "at", "action", ""), rows)
            return
        kept = cloud.versions(channel)
    rows = ((each.version, each.stored_at, each.action, each.detail) for each in kept)
    _show(kept, as_json, ("version", "at", "action", ""), rows)


@channels_app.command("diff")
def diff(
    channel: _Channel,
    old: Annotated[int, typer.Argument(help="A kept version.")],
    new: Annotated[int | None, typer.Argument(help="Another; by default the present one.")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show what changes from one version to another."""
    with reporting_errors(), CloudClient(url) as cloud:
        found = cloud.difference(channel, old, new)
    rows = [
        *(("+", each.name, each.bundle_id) for each in found.added),
        *(("-", each.name, each.bundle_id) for each in found.removed),
        *(("~", each.name, f"{each.old_bundle_id} -> {each.new_bundle_id}") for each in found.changed),
    ]
    _show(found, as_json, ("", "name", "bundle"), rows)


@channels_app.command("rollback")
def rollback(
    channel: _Channel,
    version: Annotated[int, typer.Argument(help="A kept version.")],
    if_version: _IfVersion = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Give a channel the content that it had at a version, as a new version."""
    with reporting_errors(), CloudClient(url) as cloud:
        found = cloud.roll_back(channel, version, expected=_expected(cloud, channel, if_version))
    _say(_plain(found), as_json, f"{channel} has the content of version {version} again, as version {found.version}")


@channels_app.command("withdraw")
def withdraw(
    channel: _Channel,
    name: Annotated[str, typer.Argument(help="Name of a specialization.")],
    if_version: _IfVersion = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Take a name out of a channel; devices go back to their base model."""
    with reporting_errors(), CloudClient(url) as cloud:
        found = cloud.withdraw(channel, name, expected=_expected(cloud, channel, if_version))
    _say(_plain(found), as_json, f"{channel} has no {name} any more; it is at version {found.version}")


@channels_app.command("delete")
def delete_channel(
    channel: _Channel,
    yes: Yes = False,
    if_version: _IfVersion = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Delete a channel with its versions; devices keep what they have."""
    if not yes:
        typer.confirm(f"Delete channel {channel} with all its versions?", abort=True)
    with reporting_errors(), CloudClient(url) as cloud:
        cloud.delete_channel(channel, expected=_expected(cloud, channel, if_version))
    typer.echo(f"{channel} is deleted")


@rollouts_app.command("start")
def start_rollout(
    channel: _Channel,
    name: Annotated[str | None, typer.Argument(help="Name that devices serve the bundle under.")] = None,
    bundle_id: Annotated[str | None, typer.Argument(help="Id of a bundle that the service has.")] = None,
    version: Annotated[int | None, typer.Option(help="A kept version, in place of a name and a bundle.")] = None,
    percent: _Percent = 100,
    label: _Label = None,
    at: Annotated[datetime | None, typer.Option(help="When it starts, in UTC; by default now.")] = None,
    halt_percent: Annotated[
        float, typer.Option(min=0.01, max=100, help="Halt when so many percent of those that have it fail.")
    ] = 5,
    halt_slower: Annotated[
        float, typer.Option(min=0.01, max=100, help="Halt when so many percent of those that have it get slower.")
    ] = 25,
    halt_devices: Annotated[int, typer.Option(min=1, help="Only when at least so many devices have it.")] = 10,
    if_version: _IfVersion = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Start a rollout of a bundle, or of a version that is kept."""
    with reporting_errors(), CloudClient(url) as cloud:
        rollout = cloud.start_rollout(
            channel,
            name,
            bundle_id,
            version=version,
            percent=percent,
            labels=_labels(label),
            starts_at=None if at is None else at.replace(tzinfo=UTC),
            halt_failing_percent=halt_percent,
            halt_slower_percent=halt_slower,
            halt_min_devices=halt_devices,
            expected=_expected(cloud, channel, if_version),
        )
    _say(rollout, as_json, _describe(channel, rollout))


@rollouts_app.command("show")
def show_rollout(channel: _Channel, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Show how far the last rollout of a channel has come."""
    with reporting_errors(), CloudClient(url) as cloud:
        found = cloud.rollouts(channel)
    _say(found, as_json, "\n".join(_describe(channel, each) for each in found) or f"{channel} never had a rollout")


@rollouts_app.command("widen")
def widen(
    channel: _Channel,
    percent: _Percent = 100,
    label: _Label = None,
    rollout: _Rollout = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Bring a rollout to more devices; it never gets fewer."""
    with reporting_errors(), CloudClient(url) as cloud:
        version = _last(cloud, channel, rollout)
        changed = cloud.change_rollout(channel, version, percent=percent, labels=_labels(label))
    _say(changed, as_json, _describe(channel, changed))


@rollouts_app.command("pause")
def pause(channel: _Channel, rollout: _Rollout = None, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Bring it to no further device; those that have it keep it."""
    _set_state(channel, rollout, "paused", as_json, url)


@rollouts_app.command("resume")
def resume(channel: _Channel, rollout: _Rollout = None, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Let a paused rollout go on."""
    _set_state(channel, rollout, "running", as_json, url)


@rollouts_app.command("promote")
def promote(channel: _Channel, rollout: _Rollout = None, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Bring it to all devices, and end the rollout."""
    _set_state(channel, rollout, "promoted", as_json, url)


@rollouts_app.command("abort")
def abort(channel: _Channel, rollout: _Rollout = None, as_json: AsJson = False, url: Url = DEFAULT_URL) -> None:
    """Give all devices what they had, as a new version, and end the rollout."""
    _set_state(channel, rollout, "aborted", as_json, url)


@devices_app.command("list")
def list_devices(
    channel: Annotated[str | None, typer.Option(help="Only devices that follow it; then they are counted too.")] = None,
    label: _Label = None,
    failing: Annotated[
        bool | None, typer.Option("--failing/--well", help="Only devices on which a bundle failed, or the others.")
    ] = None,
    seen: Annotated[
        float | None, typer.Option(min=0, metavar="HOURS", help="Only those heard of within so many hours.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most devices.")] = 100,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List devices, those heard of last first."""
    after = None if seen is None else datetime.now(UTC) - timedelta(hours=seen)
    with reporting_errors(), CloudClient(url) as cloud:
        options: dict[str, Any] = {"labels": _labels(label), "failing": failing, "seen_after": after}
        page = cloud.devices(channel, **options, limit=min(limit, 100))
        found, summary = list(page.devices), page.summary
        while page.next_before is not None and len(found) < limit:
            page = cloud.devices(channel, **options, before=page.next_before, limit=min(limit - len(found), 100))
            found += page.devices
    if summary is not None and not as_json:
        versions = ", ".join(f"{each.devices} at version {each.version}" for each in summary.versions)
        typer.echo(f"{summary.devices} devices, {summary.failing} failing: {versions or 'none'}")
    rows = (
        (each.device_id, each.channel, each.channel_version, _state(each.specializations), format_labels(each.labels))
        for each in found
    )
    plain = {"devices": found, "summary": summary}
    _show(plain, as_json, ("device", "channel", "version", "specializations", "labels"), rows)


@devices_app.command("delete")
def delete_device(
    channel: _Channel,
    device_id: Annotated[str, typer.Argument(help="Name of the device.")],
    url: Url = DEFAULT_URL,
) -> None:
    """Forget a device; it is listed again with its next report."""
    with reporting_errors(), CloudClient(url) as cloud:
        cloud.delete_device(channel, device_id)
    typer.echo(f"{device_id} is forgotten")


def _set_state(channel: str, rollout: int | None, state: str, as_json: bool, url: str) -> None:
    with reporting_errors(), CloudClient(url) as cloud:
        changed = cloud.change_rollout(channel, _last(cloud, channel, rollout), state=state)
    _say(changed, as_json, _describe(channel, changed))


def _last(cloud: CloudClient, channel: str, rollout: int | None) -> int:
    if rollout is not None:
        return rollout
    found = cloud.rollouts(channel)
    if not found:
        raise InvalidRequestError(f"channel {channel!r} never had a rollout", "start one")
    return found[0].version


def _expected(cloud: CloudClient, channel: str, version: int | None) -> ChannelSnapshot | None:
    if version is None:
        return None
    found = cloud.channel(channel)
    if found.version != version:
        raise InvalidRequestError(f"expected channel {channel!r} at version {version}, found version {found.version}")
    return found


def _labels(texts: list[str] | None) -> dict[str, str]:
    try:
        return parse_labels(",".join(texts or []))
    except ContractError as e:
        raise InvalidRequestError(str(e), e.hint) from e


def _describe(channel: str, rollout: RolloutStatus) -> str:
    groups = ", ".join(
        f"{group.percent:g} % of {format_labels(group.labels) or 'all devices'}" for group in rollout.groups
    )
    reason = f" ({rollout.reason})" if rollout.reason else ""
    return (
        f"{channel}: version {rollout.version}, {rollout.about}: {rollout.state}{reason}, {groups}; "
        f"{rollout.updated} of {rollout.devices} devices have it, it fails on {rollout.failing} and is slower on "
        f"{rollout.slower}"
    )


def _state(specializations: Sequence[Any]) -> str:
    texts = (f"{each.name} {'failed' if each.failed_bundle_id else each.state}" for each in specializations)
    return ", ".join(texts)


def _plain(found: ChannelSnapshot) -> dict[str, Any]:
    entries = [*found.specializations.values()]
    return {"name": found.name, "version": found.version, "specializations": entries, "etag": found.etag}


def _say(answer: Any, as_json: bool, text: str) -> None:
    typer.echo(_json(answer) if as_json else visible(text))


def _show(answer: Any, as_json: bool, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    if as_json:
        typer.echo(_json(answer))
        return
    print_table(heads, rows)


def _json(answer: Any) -> str:
    return json.dumps(TypeAdapter(Any).dump_python(answer, mode="json"), indent=2)
