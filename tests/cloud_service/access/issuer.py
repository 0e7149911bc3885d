"""Helper: a real OpenID provider on loopback, as far as discovery and keys go, and the tokens that it signs."""

import functools
import json
import threading
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.loopback_server import LoopbackServer, QuietHandler

AUDIENCE = "https://loragen.example"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@functools.cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key of this name, the same one in all tests."""
    return rsa.generate_private_key(65537, bits)


def public(key: PrivateKey, kid: str, **more: Any) -> dict[str, Any]:
    """A public key as an issuer lists it."""
    kinds: dict[type, Any] = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    algorithm = next((kinds[kind] for kind in kinds if isinstance(key, kind)), OKPAlgorithm)
    listed = json.loads(algorithm.to_jwk(key.public_key()))
    listed.pop("key_ops", None)
    return {**listed, "kid": kid, **more}


class Issuer(LoopbackServer):
    """Serves while the block is open.

    Attributes:
        keys: What it lists.
        answers: By path, what it answers instead: a status, and a body or the place of a redirect.
        asked: The paths that were asked for.
    """

    def __init__(self) -> None:
        self.keys = [public(rsa_key("first"), "first", use="sig", alg="RS256")]
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        super().__init__(type("Handler", (_Handler,), {"issuer": self}))

    def __exit__(self, *details: object) -> None:
        self.gate.set()
        super().__exit__(*details)

    @property
    def fetches(self) -> int:
        """How often its keys were fetched."""
        return self.asked.count("/keys")

    def fail(self, status: int = 503) -> None:
        """Be broken from now on."""
        self.answers = dict.fromkeys(("/.well-known/openid-configuration", "/keys"), (status, "{}"))

    def recover(self) -> None:
        """Be as before."""
        self.answers = {}

    def token(
        self,
        scopes: object = "read",
        *,
        key: Any = None,
        kid: str | None = "first",
        algorithm: str = "RS256",
        without: str = "",
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A token, good for five minutes unless the claims say otherwise."""
        now = int(time.time())
        body = {"iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 300, "scope": scopes} | claims
        body.pop(without, None)
        headers = ({} if kid is None else {"kid": kid}) | (header or {})
        return jwt.encode(body, rsa_key("first") if key is None else key, algorithm, headers)


class _Handler(QuietHandler):
    issuer: Issuer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        issuer = self.issuer
        issuer.gate.wait(10)
        issuer.asked.append(self.path)
        bodies = {
            "/.well-known/openid-configuration": {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"},
            "/keys": {"keys": issuer.keys},
        }
        usual = (200, json.dumps(bodies[self.path])) if self.path in bodies else (404, "{}")
        status, text = issuer.answers.get(self.path, usual)
        self.send_response(status)
        if status in (301, 302, 307):
            self.send_header("location", text)
        data = text.encode()
        self.send_header("content-length", str(len(data)))
        self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(data)
