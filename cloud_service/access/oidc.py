"""Rules: which tokens of an OpenID provider are good here, and what their holders may do.

- A token is a JWT that the issuer signed with one of its public keys, for this service's audience, at a time within
  its own limits. `alg: none` and shared secrets are refused before any key is looked for, and a key verifies only what
  its own type can sign: what is public never serves as a secret.
- Its scopes are those of API keys, but for `device`: a device has a key of its own, which names it.
- Where a claim names the tenant, a token without it is refused. It would be the operator's otherwise, which sees all.

Where keys come from is `oidc_keys`. Nothing of a token stands in a message or a log but its subject.
"""

import re
from typing import Any, Protocol

from jwt import PyJWK, PyJWT, PyJWTError, get_unverified_header
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    MissingRequiredClaimError,
)

from cloud_service.access.caller import Caller
from cloud_service.access.oidc_keys import ALGORITHMS
from cloud_service.access.scopes import Scope
from cloud_service.access.token_rules import TokenRules
from cloud_service.errors import UnauthenticatedError
from loragen.contract.errors import ContractError
from loragen.contract.names import verify_name

_LEEWAY_SECONDS = 30
"""How far the clocks of the issuer and of this service may differ."""

_FOREVER = 2**53
"""Unix seconds that a float still counts exactly."""

_SUBJECT = re.compile(r"[\x20-\x7e]{1,255}", re.ASCII)
_MOST_KEY_ID_CHARS = 256

_SCOPES = {scope.value: scope for scope in Scope if scope is not Scope.DEVICE}


class KeyFinder(Protocol):
    """Knows the issuer's keys."""

    async def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The key of this name for an algorithm; None when there is none. Raises UnavailableError."""
        ...

    async def refresh(self) -> None:
        """Ask the issuer for them."""
        ...

    async def aclose(self) -> None:
        """Stop asking."""
        ...


class TokenVerifier:
    """Tells whose token it is.

    Args:
        rules: Which tokens are good.
        keys: The issuer's.
    """

    def __init__(self, rules: TokenRules, keys: KeyFinder) -> None:
        self._rules = rules
        self._keys = keys
        self._jwt = PyJWT({"enforce_minimum_key_length": True})

    async def refresh(self) -> None:
        await self._keys.refresh()

    async def aclose(self) -> None:
        await self._keys.aclose()

    async def identify(self, token: str) -> Caller:
        """Who holds a token.

        Raises:
            UnauthenticatedError: It is not good here.
            UnavailableError: Its key is not known, and the issuer does not answer.
        """
        rules = self._rules
        key = await self._find_key(token)
        try:
            claims = self._jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=rules.issuer,
                audience=rules.audience,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (PyJWTError, ValueError) as e:
            raise self._refused(e) from None
        subject = claims["sub"]
        if not _SUBJECT.fullmatch(subject):
            raise _invalid("expected a subject of at most 255 printable ASCII characters, found another")
        # API keys have no colon, so nobody can be taken for one.
        until = min(int(claims["exp"]), _FOREVER) + _LEEWAY_SECONDS
        return Caller(f"oidc:{subject}", subject, self._tenant(claims), self._scopes(claims), expires_at=until)

    async def _find_key(self, token: str) -> PyJWK:
        try:
            header = get_unverified_header(token)
        except (PyJWTError, ValueError):
            raise _invalid("expected a signed JWT, found something else") from None
        algorithm, key_id = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            raise _invalid(f"expected a token signed by one of {', '.join(ALGORITHMS)}, found another algorithm")
        if key_id is not None and len(key_id) > _MOST_KEY_ID_CHARS:
            raise _invalid(f"expected the id of a key of at most {_MOST_KEY_ID_CHARS} characters, found a longer one")
        key = await self._keys.find(key_id, algorithm)
        if key is None:
            raise _invalid(f"expected a token that {self._rules.issuer} signed, found one with another key")
        return key

    def _scopes(self, claims: dict[str, Any]) -> frozenset[Scope]:
        named = _claim(claims, self._rules.scopes_claim)
        listed = named.split() if isinstance(named, str) else [] if named is None else named
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise _invalid(f"expected a text or a list of texts as claim {self._rules.scopes_claim}, found neither")
        prefix = self._rules.scope_prefix
        own = (each.removeprefix(prefix) for each in listed if each.startswith(prefix))
        return frozenset(_SCOPES[name] for name in own if name in _SCOPES)

    def _tenant(self, claims: dict[str, Any]) -> str:
        name = self._rules.tenant_claim
        if not name:
            return ""
        tenant = _claim(claims, name)
        try:
            if not isinstance(tenant, str) or "." in verify_name(tenant):
                raise _invalid(f"expected the name of a tenant, without dots, as claim {name}, found none")
        except ContractError as e:
            raise _invalid(f"claim {name}: {e}") from e
        return tenant

    def _refused(self, error: Exception) -> UnauthenticatedError:
        rules = self._rules
        match error:
            case ExpiredSignatureError():
                return _invalid("the token has expired", "get another from its issuer")
            case ImmatureSignatureError():
                return _invalid("the token is not valid yet", "are the clocks right?")
            case InvalidAudienceError():
                return _invalid(f"expected a token for the audience {rules.audience}, found one for another")
            case InvalidIssuerError():
                return _invalid(f"expected a token of {rules.issuer}, found one of another issuer")
            case MissingRequiredClaimError():
                return _invalid(f"expected a token with the claim {error.claim}, found one without")
        return _invalid(f"expected a token that {rules.issuer} signed, found another")


def _claim(claims: dict[str, Any], name: str) -> Any:
    """A claim by its name; when there is none of the whole name, the dots lead into objects."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _invalid(message: str, hint: str = "get a token for this service from its issuer") -> UnauthenticatedError:
    return UnauthenticatedError(message, hint, code="invalid_token")
