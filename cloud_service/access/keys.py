"""Values: API keys. No I/O, no clock of their own.

A key is `loragen_<id>_<secret><check>`: the id is no secret and names the key in listings and logs, the secret has 256
random bits, and the check, a CRC-32, lets scanners for leaked secrets tell a key from what only looks like one. The
store has the id and the sha256 of the whole key. A slow hash is for passwords, which can be guessed: of 256 random bits
nobody guesses any, whatever a guess costs.
"""

import hashlib
import hmac
import json
import re
import secrets
import string
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from cloud_service.access.scopes import Scope
from cloud_service.errors import IntegrityError

KEY_PATTERN = r"loragen_([0-9a-z]{12})_[0-9A-Za-z]{49}"
"""A whole key, for scanners; the group is its id."""

ANY_DEVICE = "*"
"""As the device of a key: any device of its tenant, for a fleet that shares one key."""

_KEY = re.compile(KEY_PATTERN, re.ASCII)
_ID_ALPHABET = string.digits + string.ascii_lowercase
_ALPHABET = string.digits + string.ascii_letters
_ID_CHARS = 12
_SECRET_CHARS = 43  # 43 of 62 characters are 256 bits
_CHECK_CHARS = 6  # 62 ** 6 > 2 ** 32

KeyState = Literal["active", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the store has it.

    Attributes:
        id: Names it; no secret.
        digest: sha256 of the whole key, in hexadecimal.
        name: For people.
        scopes: What it is good for.
        tenant: Whose it is; empty for the operator's own, which see everything.
        device: The only device that it speaks for, or `ANY_DEVICE`; empty for a key that is no device's.
        created_at: Unix seconds.
        expires_at: Unix seconds; None for never.
        revoked_at: Unix seconds; None while it is not.
    """

    id: str
    digest: str = field(repr=False)
    name: str
    scopes: tuple[Scope, ...]
    tenant: str
    device: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None

    @property
    def ends_at(self) -> int | None:
        """When it ceases to be good, in Unix seconds; None for never."""
        return min((at for at in (self.expires_at, self.revoked_at) if at is not None), default=None)

    def state(self, now: float) -> KeyState:
        """Whether it is still good, at a time in Unix seconds."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def is_key(self, digest: str) -> bool:
        """Whether the key with this digest is this one; takes as long whatever differs."""
        return hmac.compare_digest(self.digest.encode("ascii"), digest.encode("ascii"))


def make_token() -> tuple[str, str]:
    """A new key and its id. This is the only time that anybody has the key in the clear."""
    key_id = _random(_ID_ALPHABET, _ID_CHARS)
    body = f"loragen_{key_id}_{_random(_ALPHABET, _SECRET_CHARS)}"
    return f"{body}{_check(body)}", key_id


def id_of(token: str) -> str | None:
    """The id in a key; None when it is none, as when a part of it was copied."""
    match = _KEY.fullmatch(token)
    if match is None or _check(token[:-_CHECK_CHARS]) != token[-_CHECK_CHARS:]:
        return None
    return match[1]


def digest_of(token: str) -> str:
    """What the store has of a key."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def encode_key(key: ApiKey) -> bytes:
    """A key as the store has it."""
    return json.dumps(asdict(key)).encode()


def parse_key(data: bytes) -> ApiKey:
    """What `encode_key` wrote.

    Raises:
        IntegrityError: The stored bytes are damaged.
    """
    try:
        fields: dict[str, Any] = json.loads(data)
        scopes: Sequence[str] = fields.pop("scopes")
        return ApiKey(scopes=tuple(map(Scope, scopes)), **fields)
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise IntegrityError("a stored API key is damaged", "make another, or restore the store from a backup") from e


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _check(body: str) -> str:
    number, digits = zlib.crc32(body.encode("ascii")), ""
    for _ in range(_CHECK_CHARS):
        number, place = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[place] + digits
    return digits
