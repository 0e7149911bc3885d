"""What a service has loaded is looked through no more."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from loragen.collector import pass_over_loaded


class Circle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_is_loaded_is_passed_over_and_garbage_is_not() -> None:
    before = weakref.ref(Circle())
    loaded = Circle()
    pass_over_loaded()
    assert before() is None, "no garbage is kept"
    assert gc.get_freeze_count() > 1_000
    assert not any(each is loaded for each in gc.get_objects()), "of what is loaded nothing is looked at"
    after = weakref.ref(Circle())
    gc.collect()
    assert after() is None
