"""Who makes the call that is being answered, and the checks that follow from it.

The gates of HTTP and gRPC set the caller for the time of a call. What happens without a caller, such as the service's
own upkeep, is done by the service, which may do everything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from cloud_service.access.keys import ANY_DEVICE
from cloud_service.access.scopes import Rule, Scope
from cloud_service.errors import ForbiddenError, NotFoundError


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and from where.

    Attributes:
        key_id: Id of the key, or `oidc:` and the subject of a token; empty when neither was asked for.
        key_name: What people call that key, or the subject.
        tenant: Whose it is; empty for the operator, who sees everything.
        scopes: What it is good for.
        device: The only device that it speaks for; empty, or `ANY_DEVICE`, for any.
        address: Where the call came from.
        request_id: Which call it is, in the log.
        expires_at: Unix seconds at which its token expires; None for a key, of which the store knows that.
    """

    key_id: str = ""
    key_name: str = ""
    tenant: str = ""
    scopes: frozenset[Scope] = frozenset(Scope)
    device: str = ""
    address: str = ""
    request_id: str = ""
    expires_at: float | None = None

    @property
    def holder(self) -> str:
        """Whom shares, quotas and turns are counted for: its tenant, or its key where that has none; else empty."""
        return f"tenant/{self.tenant}" if self.tenant and self.key_id else self.key_id

    def has(self, *scopes: Scope) -> bool:
        """Whether the key is good for one of these."""
        return Scope.ADMIN in self.scopes or not self.scopes.isdisjoint(scopes)

    def sees(self, channel: str) -> bool:
        """Whether a channel is the caller's: those of a tenant begin with its name and a dot."""
        return not self.tenant or channel.startswith(f"{self.tenant}.")

    def first_channel(self, after: str) -> str:
        """Where a listing of channels behind `after` begins for the caller."""
        return max(after, f"{self.tenant}.") if self.tenant else after


SERVICE = Caller(key_name="service")

_caller: ContextVar[Caller] = ContextVar("caller", default=SERVICE)


def current_caller() -> Caller:
    """Who makes the call that is being answered."""
    return _caller.get()


@contextmanager
def calling(caller: Caller) -> Iterator[None]:
    """Everything within the block is done for this caller."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)


def set_caller(caller: Caller) -> None:
    """Everything in this task from now on is done for this caller."""
    _caller.set(caller)


def verify_rule(caller: Caller, rule: Rule) -> None:
    """Return when the caller has what a call needs.

    Raises:
        ForbiddenError: A scope is missing, or the call is not for keys of tenants.
    """
    if not caller.has(*rule.scopes):
        raise ForbiddenError.of_scope(*rule.scopes)
    if rule.operator_only and caller.tenant:
        raise ForbiddenError(
            "expected a key of the operator, found one of a tenant", "the answer would tell of other tenants"
        )


def verify_channel(channel: str) -> None:
    """Return when the caller may know of a channel.

    Raises:
        NotFoundError: It is another tenant's, whether it is there or not.
    """
    caller = current_caller()
    if not caller.sees(channel):
        raise NotFoundError(
            f"no channel {channel!r}", f"the channels of your key begin with {caller.tenant}.", code="not_found"
        )


def verify_publishing(channel: str) -> None:
    """Return when the caller may publish to a channel.

    Raises:
        ForbiddenError: Its key is not good for that.
        NotFoundError: The channel is another tenant's.
    """
    if not current_caller().has(Scope.PUBLISH):
        raise ForbiddenError.of_scope(Scope.PUBLISH)
    verify_channel(channel)


def verify_device(device_id: str) -> None:
    """Return when the caller may speak for a device.

    Raises:
        ForbiddenError: Its key is that of another device.
    """
    caller = current_caller()
    if caller.device not in ("", ANY_DEVICE, device_id):
        raise ForbiddenError(
            f"expected device {caller.device!r}, whose key this is, found {device_id[:64]!a}",
            "a device speaks for itself only: set its name as the key has it, or make a key for this one",
            code="wrong_device",
        )
