"""The calls about API keys, what they used, and the audit log; both clients of the cloud have a method for each.

All but `usage` need a key with the scope `admin`. In the examples, `cloud` is a `CloudClient`.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from loragen.client.call import ApiCall, as_model, path_of
from loragen.key_answers import AuditPage, KeyPage, KeySummary, MadeKey, UsageAnswer

_CREATED = frozenset({201})


def create_key(
    name: str,
    scopes: Sequence[str],
    *,
    tenant: str = "",
    device: str = "",
    expires_in_seconds: int | None = None,
) -> ApiCall[MadeKey]:
    """Make an API key. The answer has it in the clear, which nothing can show again.

    Args:
        name: For people.
        scopes: What it is good for: `generate`, `read`, `publish`, `device`, `admin`.
        tenant: Whose it is; by default that of the calling key.
        device: The only device that a key with the scope `device` speaks for; `*` for any of its tenant.
        expires_in_seconds: None for a key that does not expire.

    Raises:
        RemoteError: No answer, or a refusal: `missing_scope`, `invalid_request`, ...

    Example:
        >>> made = cloud.create_key("the build", ["generate", "publish"])
        >>> made.key, made.about.id
    """
    body: dict[str, Any] = {"name": name, "scopes": list(scopes), "tenant": tenant, "device": device}
    if expires_in_seconds is not None:
        body["expires_in_seconds"] = expires_in_seconds
    return ApiCall("POST", "/keys", as_model(MadeKey), body, accepts=_CREATED, repeatable=False)


def keys(after: str = "") -> ApiCall[KeyPage]:
    """A page of the API keys, by id.

    Args:
        after: The `next_after` of the page before; empty for the first page.

    Example:
        >>> [key.name for key in cloud.keys().keys if key.state == "active"]
    """
    return ApiCall("GET", "/keys" + (f"?{urlencode({'after': after})}" if after else ""), as_model(KeyPage))


def rotate_key(key_id: str, *, grace_seconds: int = 86_400) -> ApiCall[MadeKey]:
    """Make a key like another one, which stays good for a while.

    Args:
        key_id: Of the old key.
        grace_seconds: How long both are good.

    Raises:
        RemoteError: No answer, or a refusal: `key_not_found`, ...

    Example:
        >>> cloud.rotate_key(made.about.id).key
    """
    body = {"grace_seconds": grace_seconds}
    return ApiCall(
        "POST", path_of("keys", key_id, "rotate"), as_model(MadeKey), body, accepts=_CREATED, repeatable=False
    )


def revoke_key(key_id: str) -> ApiCall[KeySummary]:
    """Let a key be refused from now on, within seconds on every replica.

    Raises:
        RemoteError: No answer, or a refusal: `key_not_found`, ...

    Example:
        >>> cloud.revoke_key(made.about.id).state
    """
    return ApiCall("DELETE", path_of("keys", key_id), as_model(KeySummary))


def audit(before: int | None = None) -> ApiCall[AuditPage]:
    """A page of the audit log: who changed which channel or key, when, from where; the newest first.

    Args:
        before: The `next_before` of the page before; None for the first page.

    Example:
        >>> [(entry.at, entry.key_name, entry.action, entry.target) for entry in cloud.audit().entries]
    """
    return ApiCall("GET", "/audit" + ("" if before is None else f"?before={before}"), as_model(AuditPage))


def usage() -> ApiCall[UsageAnswer]:
    """What the calling key's tenant, or the key itself, has used of its quotas and of its share of the store.

    Example:
        >>> stored = cloud.usage().stored["bytes"]
        >>> print(f"{stored.used} of {stored.most} bytes")
    """
    return ApiCall("GET", "/usage", as_model(UsageAnswer))
