"""Values: API keys, what they used, and the audit log, as the service writes them and clients read them."""

from typing import Any

from pydantic import Field

from loragen.answer_model import AnswerModel


class KeySummary(AnswerModel):
    """An API key, without its secret; times are ISO 8601, UTC."""

    id: str
    name: str
    scopes: tuple[str, ...]
    tenant: str = Field(default="", description="Whose it is; empty for the operator's own.")
    device: str = Field(default="", description="The only device that it speaks for; `*` for any of its tenant.")
    state: str = Field(description="`active`, `expired` or `revoked`.")
    created_at: str
    expires_at: str | None = None
    revoked_at: str | None = None


class MadeKey(AnswerModel):
    """An API key that was just made. The service cannot show it again."""

    key: str = Field(repr=False, description="The whole key, shown this once.")
    about: KeySummary


class KeyPage(AnswerModel):
    """API keys by id; `next_after` asks for the next page, and is None on the last one."""

    keys: tuple[KeySummary, ...]
    next_after: str | None = None


class AuditedChange(AnswerModel):
    """Who changed what, when, from where.

    Attributes:
        number: Grows with each entry.
        at: ISO 8601, UTC.
        action: Such as `channel.publish` or `key.revoke`.
        key_id: Of the API key; empty when none was asked for, or when the service did it by itself.
        target: What was changed, such as `{"channel": "kitchen"}`.
    """

    number: int
    at: str
    action: str
    key_id: str = ""
    key_name: str = ""
    tenant: str = ""
    address: str = ""
    request_id: str = ""
    target: dict[str, Any] = Field(default_factory=dict)


class AuditPage(AnswerModel):
    """Entries of the audit log, the newest first; `next_before` asks for older ones, and is None on the last page."""

    entries: tuple[AuditedChange, ...]
    next_before: int | None = None


class Used(AnswerModel):
    """How much is used of something; `most` is 0 where there is no limit."""

    used: int
    most: int


class UsageAnswer(AnswerModel):
    """What a tenant, or a key without one, has used.

    Attributes:
        tenant: Whose usage it is; empty for the calling key's own.
        today: By what is counted by the day, UTC: `generations`, `prompt-tokens`, `probes`, `refinements`, `imports`;
            only what has a quota.
        stored: What the tenant has in the store: `bytes` of recipes and imported LoRAs, `channels`, `devices`, API
            `keys`; empty without a tenant.
    """

    tenant: str = ""
    today: dict[str, Used] = Field(default_factory=dict)
    stored: dict[str, Used] = Field(default_factory=dict)
