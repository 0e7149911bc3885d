"""What an application's routes have in common: HEAD beside every GET, and their templates and methods by path.

The routes are remembered, because some requests end before the application has looked for their route, and the
framework names only the methods of the first route of a path.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Match, Route
from starlette.types import Scope


def include_routes(app: FastAPI, *routers: APIRouter) -> None:
    """Add routers to the application, and a HEAD to each GET that has none. A server leaves out the body."""
    for router in routers:
        routes = [route for route in router.routes if isinstance(route, APIRoute)]
        heads = {route.path for route in routes if "HEAD" in (route.methods or ())}
        router.routes += [
            APIRoute(
                route.path,
                route.endpoint,
                methods=["HEAD"],
                dependencies=route.dependencies,
                response_model=route.response_model,
                include_in_schema=False,
            )
            for route in routes
            if "GET" in (route.methods or ()) and route.path not in heads
        ]
        app.include_router(router)
    known = [route for router in routers for route in router.routes if isinstance(route, Route)]
    app.state.routes = [*(route for route in app.routes if isinstance(route, Route)), *known]


def route_template(scope: Scope) -> str | None:
    """The template of the path of a request, whatever became of it; None when no route has the path."""
    route = scope.get("route")
    if (path := getattr(route, "path", None)) is not None:
        return str(path)
    return next((route.path for route in _matching(scope)), None)


def find_route(scope: Scope) -> tuple[str | None, dict[str, Any]]:
    """The template of the route that a request is for, before any has taken it, and the path's parameters.

    The template is None when no route has the path, or none of this path the method.
    """
    for route in _matching(scope):
        match, child = route.matches(scope)
        if match is Match.FULL:
            return route.path, child.get("path_params", {})
    return None, {}


def allowed_methods(scope: Scope) -> str:
    """The methods of all routes with this path, as in the header `Allow`."""
    return ", ".join(sorted({method for route in _matching(scope) for method in route.methods or ()}))


def _matching(scope: Scope) -> Iterator[Route]:
    app: Any = scope.get("app")
    if app is None:
        return
    for route in getattr(app.state, "routes", app.routes):
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            yield route
