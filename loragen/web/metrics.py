"""The answer of `/metrics`, in Prometheus's text format. What is counted is each service's own."""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.responses import Response


def metrics_answer(registry: CollectorRegistry) -> Response:
    """All metrics of a registry, as they are now."""
    return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})
