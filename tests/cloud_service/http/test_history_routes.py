"""What a channel was, over HTTP."""

import httpx2
import pytest

from loragen.contract.channel import parse_channel
from tests.cloud_service.clouds import make_bundle


async def _three_versions(http: httpx2.AsyncClient) -> tuple[str, str]:
    """A channel with `mail`, then with another bundle under it, then with `post` too."""
    bundles = [await make_bundle(http, text) for text in ("a", "b")]
    for name, bundle_id in (("mail", bundles[0]), ("mail", bundles[1]), ("post", bundles[1])):
        await http.put(f"/channels/kitchen/specializations/{name}", json={"bundle_id": bundle_id})
    return bundles[0], bundles[1]


async def test_versions_are_listed_and_read(http: httpx2.AsyncClient) -> None:
    first, _ = await _three_versions(http)
    versions = (await http.get("/channels/kitchen/versions")).json()["versions"]
    assert [(each["version"], each["action"]) for each in versions] == [(3, "publish"), (2, "publish"), (1, "publish")]
    assert versions[2]["detail"] == f"mail is {first}"
    one = await http.get("/channels/kitchen/versions/1")
    assert one.headers["etag"] == f'"{versions[2]["digest"]}"'
    assert parse_channel(one.content).version == 1
    known = {"if-none-match": one.headers["etag"]}
    assert (await http.get("/channels/kitchen/versions/1", headers=known)).status_code == 304
    missing = await http.get("/channels/kitchen/versions/9")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "version_not_found")
    assert (await http.get("/channels/garden/versions")).status_code == 404


async def test_difference_between_two_versions(http: httpx2.AsyncClient) -> None:
    first, second = await _three_versions(http)
    changed = {"name": "mail", "old_bundle_id": first, "new_bundle_id": second}
    added = {"name": "post", "bundle_id": second}
    assert (await http.get("/channels/kitchen/diff?from=1")).json() == {
        "old": 1,
        "new": 3,
        "added": [added],
        "removed": [],
        "changed": [changed],
    }
    back = (await http.get("/channels/kitchen/diff?from=3&to=2")).json()
    assert (back["added"], back["removed"], back["changed"]) == ([], [added], [])
    for query in ("", "?from=0", "?from=x", "?from=1&to=-1"):
        assert (await http.get(f"/channels/kitchen/diff{query}")).status_code == 422
    assert (await http.get("/channels/kitchen/diff?from=7")).status_code == 404


async def test_rollback_in_one_call(http: httpx2.AsyncClient) -> None:
    first, _ = await _three_versions(http)
    etag = (await http.get("/channels/kitchen")).headers["etag"]
    path = "/channels/kitchen/rollback"
    assert (await http.post(path, json={"version": 1}, headers={"if-match": '"old"'})).status_code == 412
    back = await http.post(path, json={"version": 1}, headers={"if-match": etag})
    channel = parse_channel(back.content)
    assert (channel.version, [each.bundle_id for each in channel.specializations]) == (4, [first])
    assert (await http.get("/channels/kitchen", headers={"if-none-match": back.headers["etag"]})).status_code == 304
    assert 'loragen_cloud_channel_changes_total{action="rollback"} 1.0' in (await http.get("/metrics")).text
    events = (await http.get("/channels/kitchen/events?limit=1")).json()["events"]
    assert [(each["action"], each["detail"], each["version"]) for each in events] == [("rollback", "to version 1", 4)]


@pytest.mark.parametrize("body", [{}, {"version": 0}, {"version": 2**53}, {"version": "x"}, {"version": 1, "x": 1}])
async def test_rollback_to_nothing_is_refused(http: httpx2.AsyncClient, body: dict[str, object]) -> None:
    await _three_versions(http)
    assert (await http.post("/channels/kitchen/rollback", json=body)).status_code == 422
    assert (await http.post("/channels/kitchen/rollback", json={"version": 9})).status_code == 404
    assert (await http.get("/channels/kitchen/events?limit=0")).status_code == 422
