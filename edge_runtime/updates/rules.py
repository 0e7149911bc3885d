"""Rules: what a channel or the owner asks of a device, and what may be installed. No I/O, no clock.

A failure is permanent when the same bytes would fail again. Then nothing is tried until the channel names other bytes
or the device restarts. Every other failure is tried again, more and more slowly (`cloud.pacing`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_runtime.errors import (
    AnswerContractError,
    BaseGgufError,
    CanaryError,
    CanaryUnfinishedError,
    DeadlyAttemptError,
    RetainedDeltaError,
    UpdateError,
)
from edge_runtime.updates.state import Command, DeviceState, Entry
from loragen.contract.channel import Channel, Specialization
from loragen.contract.errors import ContractError, MismatchError
from loragen.contract.names import BASE_NAME

if TYPE_CHECKING:
    from loragen.contract.bundle import BundleHeader

_PERMANENT = (
    ContractError,
    AnswerContractError,
    BaseGgufError,
    CanaryError,
    DeadlyAttemptError,
    RetainedDeltaError,
)

MAX_UNFINISHED = 5
"""Failures in a row after which a canary that does not come to its end is no longer tried: each costs minutes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to happen so that a device serves what its channel lists.

    Attributes:
        install: Bundles that are to serve and do not; those whose failure is permanent are left out.
        remove: Names that the channel no longer lists, and that are not pinned.
        forget: Names whose recorded failure no longer concerns anything.
    """

    install: tuple[Specialization, ...]
    remove: tuple[str, ...]
    forget: tuple[str, ...]


def plan_changes(channel: Channel, state: DeviceState) -> Plan:
    """Compare what is wanted with what is there."""
    wanted = {specialization.name: specialization for specialization in channel.specializations}
    install = tuple(s for s in channel.specializations if _is_missing(s, state) and not _has_failed(s, state))
    forget = tuple(
        name
        for name, failure in state.failures.items()
        if name not in wanted or (wanted[name].bundle_id != failure.bundle_id)
    )
    remove = tuple(name for name, entry in state.entries.items() if name not in wanted and not entry.pinned)
    return Plan(install, remove, forget)


def _is_missing(specialization: Specialization, state: DeviceState) -> bool:
    entry = state.entries.get(specialization.name)
    if entry is None:
        return True
    return not entry.pinned and specialization.bundle_id not in (entry.active.bundle_id, entry.rolled_back_from)


def _has_failed(specialization: Specialization, state: DeviceState) -> bool:
    failure = state.failures.get(specialization.name)
    return failure is not None and failure.permanent and failure.bundle_id == specialization.bundle_id


def entry_after(command: Command, state: DeviceState) -> Entry:
    """The entry of a specialization once a command is carried out.

    Raises:
        UpdateError: Nothing serves under the name, or nothing served before.
    """
    entry = state.entries.get(command.name)
    if entry is None:
        raise UpdateError(
            f"{command.name}: nothing is installed under this name",
            "loragen-edge status lists what serves",
            code="not_installed",
        )
    if command.action != "rollback":
        return replace(entry, pinned=command.action == "pin")
    if entry.previous is None:
        raise UpdateError(
            f"{command.name}: nothing to roll back to",
            "a device has one bundle before the newest, or none",
            code="no_previous",
        )
    return Entry(entry.previous, rolled_back_from=entry.active.bundle_id, pinned=entry.pinned)


def state_after(command: Command, state: DeviceState) -> DeviceState:
    """The state once a command is carried out.

    Raises:
        UpdateError: It concerns what this device does not have.
    """
    if command.action != "accept":
        return state.with_entry(command.name, entry_after(command, state))
    if command.name != state.channel:
        raise UpdateError(
            f"{command.name}: this device follows the channel {state.channel!r}",
            "loragen-edge status names the channel",
            code="not_followed",
        )
    return replace(state, channel_version=None)


def describe_outcome(command: Command, state: DeviceState) -> str:
    """The outcome of a command that led to `state`, as a sentence for the owner without its full stop."""
    if command.action == "accept":
        return f"channel {command.name} is followed as the cloud has it, whatever its version"
    entry = state.entries[command.name]
    match command.action:
        case "rollback":
            return f"{command.name} serves {entry.active.bundle_id} again"
        case "pin":
            return f"{command.name} stays at {entry.active.bundle_id} until it is unpinned"
        case "unpin":
            return f"{command.name} follows the channel again"


def verify_wanted(specialization: Specialization, model_id: str, edge_model_digest: str | None) -> None:
    """Check, before anything is fetched, that a specialization can serve on this device.

    Raises:
        MismatchError: It is for another model, or takes a name that the base model has.
    """
    if specialization.name in (BASE_NAME, model_id):
        raise MismatchError(
            f"the name {specialization.name!r} belongs to the base model", hint="publish it under another name"
        )
    if edge_model_digest is not None and specialization.edge_model_digest != edge_model_digest:
        raise MismatchError(
            f"{specialization.name}: expected edge model {model_id} ({edge_model_digest}), "
            f"found {specialization.edge_model_id} ({specialization.edge_model_digest})",
            hint="generate it for this device's model, or follow another channel; if the base GGUF was made of that "
            "model elsewhere, name the digest in LORAGEN_EDGE_ADMIT_BASE_DIGEST",
        )


def verify_announced(header: BundleHeader, specialization: Specialization) -> None:
    """Check that a bundle is from where the channel says.

    Raises:
        MismatchError: It is not.
    """
    recipe = specialization.recipe
    for field, expected, found in (
        ("generator_id", None if recipe is None else recipe.generator_id, header.generator_id),
        ("generator_digest", None if recipe is None else recipe.generator_digest, header.generator_digest),
        ("edge_model_id", specialization.edge_model_id, header.edge_model_id),
        ("edge_model_digest", specialization.edge_model_digest, header.edge_model_digest),
    ):
        if expected != found:
            raise MismatchError(
                f"{specialization.name}: the channel says {field} {expected}, the bundle {found}",
                hint="publish the specialization again",
            )


def is_permanent(error: Exception, attempts: int = 1) -> bool:
    """Whether the same bytes would fail the same way again, as far as is known after so many failures in a row."""
    return isinstance(error, _PERMANENT) or (isinstance(error, CanaryUnfinishedError) and attempts >= MAX_UNFINISHED)
