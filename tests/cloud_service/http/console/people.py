"""Helper: people who are signed in to the console of a service that asks for keys."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from cloud_service.access.scopes import Scope
from tests.cloud_service.clouds import client_of
from tests.cloud_service.guarded import Guarded


async def token_of(guarded: Guarded, *scopes: Scope, tenant: str = "", device: str = "") -> str:
    """A new key."""
    return (await guarded.key(*scopes, tenant=tenant, device=device))["authorization"].removeprefix("Bearer ")


@asynccontextmanager
async def signed_in(guarded: Guarded, *scopes: Scope, tenant: str = "") -> AsyncIterator[httpx2.AsyncClient]:
    """A browser in which somebody has signed in."""
    async with client_of(guarded.cloud) as browser:
        answer = await browser.post("/console/sign-in", data={"key": await token_of(guarded, *scopes, tenant=tenant)})
        assert answer.status_code == 303, answer.text
        yield browser
