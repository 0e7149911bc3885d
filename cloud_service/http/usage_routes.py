"""The route that says what a caller has used up of its quotas, and of its share of the store."""

from fastapi import APIRouter

from cloud_service.access.caller import current_caller
from cloud_service.access.control import AccessControl
from cloud_service.http.channel_routes import Fleet
from loragen.key_answers import UsageAnswer, Used


def usage_routes(access: AccessControl, fleet: Fleet) -> APIRouter:
    """`/usage`."""
    router = APIRouter(tags=["access"])

    @router.get("/usage")
    async def read_usage() -> UsageAnswer:
        """What the caller has used today and has in the store, and what it may.

        Quotas are those of its tenant, or of its key where that has none; only a tenant has a share of the store.
        """
        today = {kind: Used(used=used, most=most) for kind, (used, most) in (await access.usage.today()).items()}
        shares = {
            "bytes": await access.ownership.share(),
            "channels": await fleet.channels.share(),
            "devices": await fleet.devices.share(),
            "keys": await access.keys.share(),
        }
        stored = {kind: Used(used=share.used, most=share.most) for kind, share in shares.items() if share is not None}
        return UsageAnswer(tenant=current_caller().tenant, today=today, stored=stored)

    return router
