"""The HTTP application of a service: the framework with what both services set alike. Routes are each service's own."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.middleware import Middleware

from loragen.version import package_version
from loragen.web.tracing import HTTP_TELEMETRY


def make_application(
    title: str,
    description: str,
    error_body: type[BaseModel],
    middleware: Sequence[Middleware],
    error_statuses: Sequence[int] = (),
    **options: Any,
) -> FastAPI:
    """An application without routes.

    Args:
        title: Of the OpenAPI document.
        description: One sentence of what the service does.
        error_body: The body that every error has.
        middleware: The outermost first.
        error_statuses: Those that the OpenAPI document names, beside its `default`.
        **options: Others of FastAPI.
    """
    error = {"model": error_body, "description": "Every error has this body."}
    return FastAPI(
        title=title,
        description=description,
        version=package_version(),
        responses={"default": error, **dict.fromkeys(error_statuses, error)},
        redoc_url=None,
        redirect_slashes=False,
        telemetry=HTTP_TELEMETRY,
        middleware=list(middleware),
        **options,
    )
