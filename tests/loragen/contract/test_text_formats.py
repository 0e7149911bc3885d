"""Formats that are patterns: what they take, and that a schema has them. Devices write them: `test_grammar`."""

import json
import re

import jsonschema_rs
import pytest

from loragen.contract.json_schema import canonical_schema
from loragen.contract.text_formats import PATTERN_OF_FORMAT

VALID = {
    "email": ["a@b.co", "first.last+tag@mail.example-site.com", "x@xn--bcher-kva.example"],
    "hostname": ["localhost", "a.b-c.example", "1.example"],
    "ipv4": ["0.0.0.0", "192.168.1.10", "255.255.255.255"],
    "ipv6": ["::", "::1", "fe80::1:2", "1:2:3:4:5:6:7:8", "1::", "2001:DB8::8a2e:370:7334"],
    "duration": ["P1D", "PT15M", "P1Y2M3DT4H5M6S", "P3W", "P1DT12H"],
    "uri": ["https://example.com/a?b=c#d", "mailto:a@b.co", "urn:isbn:0451450523", "http://x/%20"],
}
INVALID = {
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
    normal = json.loads(canonical_schema({"type": "string", "format": form}))
    assert normal == {"pattern": PATTERN_OF_FORMAT[form], "type": "string"}
    validator = jsonschema_rs.validator_for({"format": form}, validate_formats=True)
    for text in VALID[form]:
        assert re.search(normal["pattern"], text), text
        assert validator.is_valid(text), text
    for text in INVALID[form]:
        assert not re.search(normal["pattern"], text), text
