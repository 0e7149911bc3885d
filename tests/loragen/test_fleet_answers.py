"""Times as the answers have them."""

from loragen.fleet_answers import time_text


def test_time_is_iso_8601_in_utc_to_the_millisecond() -> None:
    assert time_text(0) == "1970-01-01T00:00:00.000+00:00"
    assert time_text(1_700_000_000_123_456) == "2023-11-14T22:13:20.123+00:00"
