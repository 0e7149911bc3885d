"""Routes for operators: is the service alive, is it ready, how is it doing.

Live and ready differ: a process that drains, or whose store is away, is alive and must not be restarted for it. One
whose model hangs is not ready first, and not alive some time later.
"""

from fastapi import APIRouter, Response
from pydantic import BaseModel

from cloud_service.service import LoraService
from cloud_service.telemetry import Metrics
from loragen.web.metrics import metrics_answer


class HealthAnswer(BaseModel):
    """Alive, or ready."""

    status: str


def operation_routes(service: LoraService, metrics: Metrics) -> APIRouter:
    """`/health` and `/metrics`."""
    router = APIRouter(tags=["operations"])

    @router.get("/health/live")
    async def live() -> HealthAnswer:
        """200 as long as the process works; 503 when a model hangs, and only a restart helps."""
        service.verify_live()
        return HealthAnswer(status="live")

    @router.get("/health/ready")
    async def ready() -> HealthAnswer:
        """200 when requests can be answered; 503 with the reason: draining, store not writable, model hangs."""
        await service.verify_ready()
        return HealthAnswer(status="ready")

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def scrape() -> Response:
        """Metrics for Prometheus."""
        return metrics_answer(metrics.registry)

    return router
