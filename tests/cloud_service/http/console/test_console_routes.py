"""The console as a whole: whoever has not signed in sees none of its pages and changes nothing."""

import re

from fastapi.routing import APIRoute

from tests.cloud_service.guarded import Guarded

OPEN = ("/console/sign-in", "/console/sign-out", "/console/files/")


async def test_every_page_leads_to_signing_in(guarded: Guarded) -> None:
    routes = [
        route for found in guarded.cloud.app.state.routes.values() for route in found if isinstance(route, APIRoute)
    ]
    pages = [route for route in routes if route.path.startswith("/console") and not route.path.startswith(OPEN)]
    assert len({route.path for route in pages}) > 10
    for route in pages:
        path = re.sub(r"{.*?}", "a", route.path)
        for method in route.methods:
            answer = await guarded.http.request(method, path)
            if method in ("GET", "HEAD"):
                assert answer.status_code == 303, path
                assert answer.headers["location"].startswith("/console/sign-in"), path
            else:
                assert answer.status_code == 401, f"{method} {path}"
