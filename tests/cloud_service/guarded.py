"""Helper: a service that asks for keys, and keys for it."""

from dataclasses import dataclass

import httpx2

from cloud_service.access.key_service import KeyRequest
from cloud_service.access.scopes import Scope
from cloud_service.bootstrap import Cloud


@dataclass
class Guarded:
    """A service that asks for keys, and a client without one."""

    cloud: Cloud
    http: httpx2.AsyncClient

    async def key(self, *scopes: Scope, tenant: str = "", device: str = "") -> dict[str, str]:
        """The header of a new key."""
        token, _ = await self.cloud.access.keys.create(KeyRequest("test", scopes, tenant, device))
        return {"authorization": f"Bearer {token}"}
