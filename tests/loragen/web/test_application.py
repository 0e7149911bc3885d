"""What both services set alike."""

import httpx2
from pydantic import BaseModel

from loragen.version import package_version
from loragen.web.application import make_application


class Problem(BaseModel):
    """What went wrong."""

    what: str


class Body(BaseModel):
    """A request."""

    size: int


async def test_document_names_one_body_for_every_error() -> None:
    app = make_application("Oven", "Bakes.", Problem, [], [409])

    @app.post("/loaves")
    async def bake(body: Body) -> Body:
        return body

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://here") as client:
        document = (await client.get("/openapi.json")).json()
        assert (await client.get("/redoc")).status_code == 404
        assert (await client.post("/loaves/", json={"size": 1})).status_code == 404, "no redirect"
    assert document["info"] == {"title": "Oven", "description": "Bakes.", "version": package_version()}
    answers = document["paths"]["/loaves"]["post"]["responses"]
    bodies = {code: answer["content"]["application/json"]["schema"]["$ref"] for code, answer in answers.items()}
    problem = "#/components/schemas/Problem"
    assert bodies == {"200": "#/components/schemas/Body", "default": problem, "409": problem}
