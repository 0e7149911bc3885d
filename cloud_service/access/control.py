"""What guards one service, put together: who calls, which keys there are, how much they may use, what was done."""

from dataclasses import dataclass
from typing import Literal, Self

from cloud_service.access.audit import AuditLog
from cloud_service.access.authenticator import Authentication, Authenticator, OpenIdTokens
from cloud_service.access.key_service import KeyService
from cloud_service.access.ownership import Ownership
from cloud_service.access.revocation import Revocation
from cloud_service.access.scopes import DOCS_CALLS, METRICS_CALLS
from cloud_service.access.usage import UsageLimits, UsageMeter
from cloud_service.limits import DAY_SECONDS
from cloud_service.store.access import AccessStore

DocsAccess = Literal["open", "key", "off"]
MetricsAccess = Literal["open", "key"]

_NO_LIMITS = UsageLimits()


@dataclass(frozen=True, slots=True)
class AccessControl:
    """The parts.

    Attributes:
        open_calls: Calls that need no key by the settings.
        docs: Whether the service describes itself at `/docs`.
        reflection: Whether it does over gRPC, which asks for no key.
    """

    authenticator: Authenticator
    keys: KeyService
    audit: AuditLog
    ownership: Ownership
    usage: UsageMeter
    revocation: Revocation
    open_calls: frozenset[str] = frozenset()
    docs: bool = True
    reflection: bool = True

    @classmethod
    def over(
        cls,
        store: AccessStore,
        authentication: Authentication = "auto",
        docs: DocsAccess = "open",
        metrics: MetricsAccess = "key",
        limits: UsageLimits = _NO_LIMITS,
        tokens: OpenIdTokens | None = None,
        audit_days: int = 0,
        deleted_days: int = 0,
    ) -> Self:
        """The parts over a store, as the settings say."""
        audit = AuditLog(store, audit_days)
        opened = (*(DOCS_CALLS if docs == "open" else ()), *(METRICS_CALLS if metrics == "open" else ()))
        return cls(
            Authenticator(store, authentication, tokens),
            KeyService(
                store,
                audit,
                kept_seconds=deleted_days * DAY_SECONDS,
                begins_with_first=authentication == "auto" and tokens is None,
            ),
            audit,
            Ownership(store),
            UsageMeter(store, limits),
            Revocation(store),
            frozenset(opened),
            docs=docs != "off",
            reflection=docs == "open",
        )
