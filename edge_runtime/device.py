"""What the device reports of itself: to the HTTP interface, to the command line and to the cloud.

It reads the updater's state and the slots, and decides nothing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_runtime.cloud.poller import PollOutcome
from edge_runtime.memory import resident_memory
from edge_runtime.serving.slots import Revision, SlotTable
from edge_runtime.updates.base_slot import BaseSlot
from edge_runtime.updates.history import read_failures
from edge_runtime.updates.merge_choice import why_attached
from edge_runtime.updates.state import Entry, Failure
from edge_runtime.updates.updater import Updater
from loragen.contract.channel import Specialization
from loragen.contract.names import BASE_NAME
from loragen.device_answers import ChannelTrust, DeviceStatus, ServedAnswer, ServedFunction, ServedModel
from loragen.version import package_version


@dataclass(slots=True)
class Device:
    """The view of one device.

    Attributes:
        history: File of what was tried.
        threads: Threads of one slot.
        trust: What is known of the channel's signatures; None for a channel that nobody signs.
        stopping: Requests in flight are finished, no others should come.
    """

    device_id: str
    base: BaseSlot
    slots: SlotTable
    updater: Updater
    history: Path
    threads: Callable[[], int] = lambda: 0
    trust: Callable[[], ChannelTrust | None] = lambda: None
    stopping: bool = False

    def slot_name(self, model: str) -> str:
        return BASE_NAME if model in (BASE_NAME, self.base.model.model_id) else model

    def models(self) -> Sequence[ServedModel]:
        state = self.updater.state_store.state
        attached = why_attached(state.entries, self.updater.merge_policy, self.slots.uses())
        served = {
            name: self._served(name, entry, state.failures.get(name), attached.get(name, ""))
            for name, entry in state.entries.items()
        }
        for name, failure in state.failures.items():
            served.setdefault(
                name,
                ServedModel(name, "failed", failure.bundle_id, message=failure.message, permanent=failure.permanent),
            )
        for wanted in self._wanted():
            served.setdefault(wanted.name, ServedModel(wanted.name, "pending", wanted.bundle_id, message="on its way"))
        revision = self.slots.revisions().get(BASE_NAME)
        base = ServedModel(
            self.base.model.model_id,
            "failed" if revision is None and self.updater.is_restored else "base",
            message="; ".join(each for each in (self.base.message, _chat_problem(revision)) if each),
            resident=self.slots.is_resident(BASE_NAME),
            answer=_answer_of(revision),
            context_length=self._context_length(),
            residual_prompt="" if revision is None else revision.residual_prompt,
        )
        recipes: dict[str | None, str] = {
            each.bundle_id: each.recipe.id for each in self._wanted() if each.recipe is not None
        }
        return [
            base,
            *(replace(served[name], recipe_id=recipes.get(served[name].bundle_id)) for name in sorted(served)),
        ]

    def not_ready_reason(self) -> str | None:
        if self.stopping:
            return "the device is shutting down"
        if not self.updater.is_restored:
            if BASE_NAME not in self.slots.revisions():
                return "the device is starting: the base model is being prepared"
            return "the device is starting: what served before is being brought back"
        return None

    def status(self) -> DeviceStatus:
        state = self.updater.state_store.state
        outcome = PollOutcome() if self.updater.poller is None else self.updater.poller.outcome
        reason = self.not_ready_reason()
        return DeviceStatus(
            device_id=self.device_id,
            version=package_version(),
            edge_model_id=self.base.model.model_id,
            edge_model_digest=self.base.model.digest,
            quantization=self.base.model.served_type,
            ready=reason is None,
            reason=reason or "",
            channel=state.channel,
            channel_version=state.channel_version,
            last_poll=outcome.code,
            last_poll_message=outcome.message,
            last_poll_at=outcome.at,
            trust=self.trust(),
            problem=self.updater.state_store.problem,
            threads=self.threads(),
            memory_bytes=resident_memory(),
            max_merged=self.updater.merge_policy.max_merged,
            serving_mode=str(self.updater.merge_policy),
            max_resident=self.slots.max_resident,
            sequences=self.slots.sequences(),
            sequences_in_use=self.slots.sequences_in_use(),
            requests_waiting=self.slots.requests_waiting(),
            models=tuple(self.models()),
        )

    def failures(self, count: int) -> Sequence[Mapping[str, Any]]:
        return read_failures(self.history, count)

    def _wanted(self) -> Sequence[Specialization]:
        poller = self.updater.poller
        return () if poller is None or poller.wanted is None else poller.wanted.specializations

    def _served(self, name: str, entry: Entry, failure: Failure | None, attached_because: str) -> ServedModel:
        active, merge = entry.active, entry.active.merge
        revision = self.slots.revisions().get(name)
        newer = failure if failure is not None and failure.bundle_id != active.bundle_id else None
        messages = [
            active.message or attached_because,
            _chat_problem(revision),
            "" if newer is None else f"a newer bundle failed: {newer.message}",
        ]
        if entry.rolled_back_from is not None:
            messages.append(f"rolled back from {entry.rolled_back_from}; waiting for another bundle")
        is_lost = revision is None and failure is not None and newer is None and failure.permanent
        return ServedModel(
            id=name,
            state="failed" if is_lost else "pending" if revision is None else active.state,
            bundle_id=active.bundle_id,
            failed_bundle_id=None if newer is None else newer.bundle_id,
            message="; ".join(message for message in messages if message),
            created=active.activated_at,
            merge_seconds=merge.seconds if merge else None,
            retained_delta=merge.retained_delta if merge else None,
            retained_delta_mean=merge.retained_delta_mean if merge else None,
            agreement=merge.agreement if merge else None,
            tokens_saved_per_call=active.tokens_saved_per_call,
            resident=self.slots.is_resident(name),
            pinned=entry.pinned,
            permanent=is_lost,
            answer=_answer_of(revision),
            context_length=None if revision is None else revision.context_tokens or self._context_length(),
            residual_prompt="" if revision is None else revision.residual_prompt,
        )

    def _context_length(self) -> int | None:
        # One setting and one edge model for all: what the base has, the others have once they are loaded.
        base = self.slots.revisions().get(BASE_NAME)
        return None if base is None else base.context_tokens


def _chat_problem(revision: Revision | None) -> str:
    return f"no chats: {revision.chat_problem}" if revision is not None and revision.chat_problem else ""


def _answer_of(revision: Revision | None) -> ServedAnswer | None:
    if revision is None:
        return None
    answer = revision.answer
    return ServedAnswer(
        answer.kind,
        answer.choices,
        tuple(
            ServedFunction(each.name, json.loads(each.parameters) if each.parameters else None)
            for each in answer.functions
        ),
        answer.none,
        answer.parallel,
        json.loads(answer.schema) if answer.schema else None,
    )
