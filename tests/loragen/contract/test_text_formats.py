"""Formats that are patterns: what they take, and that a schema has them. Devices write them: `test_grammar`."""

import json
import re

import jsonschema_rs
import pytest

from loragen.contract.json_schema import canonical_schema
from loragen.contract.schema_texts import takes_text
from loragen.contract.text_automaton import states_of
from loragen.contract.text_formats import PATTERN_OF_FORMAT, WRITTEN_FORMAT
from loragen.contract.text_pattern import lengths_of, parse_pattern

VALID = {
    "date": ["2026-02-28", "2024-02-29", "2000-02-29", "0004-02-29", "0800-12-25", "9999-12-31"],
    "time": ["10:00:00Z", "23:59:59.5+01:00", "00:00:00.123456-23:59"],
    "date-time": ["2026-02-28T10:00:00Z", "2024-02-29T23:59:59.999999+14:00"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "1B4E28BA-2fa1-11d2-883f-0016d3cca427"],
    "email": ["a@b.co", "first.last+tag@mail.example-site.com", "x@xn--bcher-kva.example", "o'neil@b.co"],
    "hostname": ["localhost", "a.b-c.example", "1.example"],
    "ipv4": ["0.0.0.0", "192.168.1.10", "255.255.255.255"],
    "ipv6": ["::", "::1", "fe80::1:2", "1:2:3:4:5:6:7:8", "1::", "2001:DB8::8a2e:370:7334"],
    "duration": ["P1D", "PT15M", "P1Y2M3DT4H5M6S", "P3W", "P1DT12H"],
    "uri": ["https://example.com/a?b=c#d", "mailto:a@b.co", "urn:isbn:0451450523", "http://x/%20"],
}
INVALID = {
    "date": ["2026-02-29", "1900-02-29", "2026-04-31", "2026-13-01", "2026-1-1", "0000-02-29", "0000-01-01", "x"],
    "time": ["24:00:00Z", "10:00Z", "10:00:00", "10:00:00.Z", "10:60:00Z", "10:00:00+24:00"],
    "date-time": ["2026-02-28", "2026-02-28 10:00:00Z", "2026-02-28T10:00:00", "2026-02-30T10:00:00Z"],
    "uuid": ["1b4e28ba2fa111d2883f0016d3cca427", "1b4e28ba-2fa1-11d2-883f-0016d3cca42", "x"],
    "email": ["a", "a@b", "@b.co", "a@b..co", "a b@c.de", "a.@b.co", ".a@b.co"],
    "hostname": ["", "-a", "a-", "a..b", "a_b", "a b"],
    "ipv4": ["1.2.3", "256.1.1.1", "1.2.3.4.5", "01.2.3.4"],
    "ipv6": ["", ":", "1:2:3", "1::2::3", "12345::", "1:2:3:4:5:6:7:8:9"],
    "duration": ["P", "PT", "1D", "P1H", "PT1D", "P1YT", "P1W2D", "P1Y2D"],
    "uri": ["example.com", "//example.com", "http://a b", "http://x/%2", ":x", "http://a#b#c"],
}


def test_every_format_is_tested() -> None:
    assert VALID.keys() == INVALID.keys() == PATTERN_OF_FORMAT.keys()


@pytest.mark.parametrize("form", PATTERN_OF_FORMAT)
def test_pattern_takes_texts_of_its_format_and_no_others(form: str) -> None:
    """Both by a regular expression and by the format itself, as a validator reads it."""
    schema = {"format": form, "type": "string"}
    assert json.loads(canonical_schema(schema)) == schema
    validator = jsonschema_rs.validator_for({"format": form}, validate_formats=True)
    for text in VALID[form]:
        assert re.search(PATTERN_OF_FORMAT[form], text, re.ASCII), text
        assert takes_text(schema, text), text
        assert validator.is_valid(text), text
    for text in INVALID[form]:
        assert not re.search(PATTERN_OF_FORMAT[form], text, re.ASCII), text
        assert not takes_text(schema, text), text


@pytest.mark.parametrize("form", WRITTEN_FORMAT)
def test_what_a_device_writes_is_of_the_format_and_comes_to_an_end(form: str) -> None:
    written = parse_pattern(WRITTEN_FORMAT[form], 4_096).part
    longest = lengths_of(written)[1]
    assert longest is not None
    assert longest < 1_000
    own = (written,)
    if form != "uri":  # it takes more steps than a pattern of a client may
        assert states_of(own, (), 0, None)
        assert not states_of(own, (parse_pattern(PATTERN_OF_FORMAT[form]).part,), 0, None)
    assert re.search(WRITTEN_FORMAT[form], VALID[form][0], re.ASCII)
