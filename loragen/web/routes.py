"""What an application's routes have in common: HEAD beside every GET, and their templates and methods by path.

The routes are remembered, because some requests end before the application has looked for their route, and the
framework names only the methods of the first route of a path. They are found by the first part of a path and the number
of its parts, so that few of them are tried. What was asked before is not remembered: the time of an answer would tell
others of it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor
from starlette.routing import Match, Route
from starlette.types import Scope

_ANY = 0
"""In place of the number of parts, where a parameter may have several."""


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
    app.state.routes = _by_shape([*(route for route in app.routes if isinstance(route, Route)), *known])


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
    known: Mapping[tuple[str, int], Sequence[Route]] | None = getattr(app.state, "routes", None)
    shapes = known or _by_shape([route for route in app.routes if isinstance(route, Route)])
    first, parts = _shape(scope["path"])
    for shape in ((first, parts), (first, _ANY)):
        for route in shapes.get(shape, ()):
            if route.matches(scope)[0] is not Match.NONE:
                yield route


def _by_shape(routes: Sequence[Route]) -> Mapping[tuple[str, int], Sequence[Route]]:
    """The routes whose paths have a shape. No template begins with a parameter."""
    shapes: dict[tuple[str, int], list[Route]] = defaultdict(list)
    for route in routes:
        first, parts = _shape(route.path)
        is_long = any(isinstance(each, PathConvertor) for each in route.param_convertors.values())
        shapes[first, _ANY if is_long else parts].append(route)
    return dict(shapes)


def _shape(path: str) -> tuple[str, int]:
    """The first part of a path, and how many it has."""
    parts = path.split("/")
    return parts[1] if len(parts) > 1 else "", len(parts)
