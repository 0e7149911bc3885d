"""The settings decide what needs no key."""

from cloud_service.access.control import AccessControl
from cloud_service.access.scopes import rule_of
from cloud_service.store import Store
from tests.cloud_service.store_backends import SqliteBackend


async def test_docs_and_metrics_are_open_as_the_settings_say(sqlite: SqliteBackend) -> None:
    store: Store = await sqlite.open()
    usual = AccessControl.over(store.access)
    assert rule_of("GET /docs", usual.open_calls).is_open
    assert not rule_of("GET /metrics", usual.open_calls).is_open
    assert (usual.docs, usual.reflection) == (True, True)
    other = AccessControl.over(store.access, docs="key", metrics="open")
    assert not rule_of("GET /openapi.json", other.open_calls).is_open
    assert rule_of("GET /metrics", other.open_calls).is_open
    assert (other.docs, other.reflection) == (True, False)
    off = AccessControl.over(store.access, docs="off")
    assert (off.docs, off.reflection) == (False, False)
