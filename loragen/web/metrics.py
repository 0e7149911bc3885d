"""The answer of `/metrics`, in Prometheus's text format. What is counted is each service's own."""

from prometheus_client.registry import CollectorRegistry
from starlette.responses import Response


def metrics_answer(registry: CollectorRegistry) -> Response:
    """All metrics of a registry, as they are now."""
    # Loaded here, with the HTTP server that the library brings: a device that nobody measures does without.
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

    return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})
