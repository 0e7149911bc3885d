"""The formats of texts that are patterns: what `format` of a JSON Schema means, where a pattern can say it.

Each pattern is as narrow as is useful, not as wide as its standard: an address has no quotes or comments, and a host
name no letters outside of ASCII. Lengths are not held: a reader may refuse a host name of 70 letters.
Dates, times and UUIDs have rules of llama.cpp's converter, and are not here.
"""

_LABEL = "[A-Za-z0-9]+(-+[A-Za-z0-9]+)*"
_BYTE = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_GROUP = "[0-9A-Fa-f]{1,4}"
_SHORT_IPV6 = "|".join(f"({_GROUP}:){{1,{before}}}(:{_GROUP}){{1,{7 - before}}}" for before in range(1, 7))
_CLOCK = r"(\d{1,4}H(\d{1,4}M(\d{1,4}S)?)?|\d{1,4}M(\d{1,4}S)?|\d{1,4}S)"
_OF_URI = r"([A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_DAYS = r"(\d{1,4}Y(\d{1,4}M(\d{1,4}D)?)?|\d{1,4}M(\d{1,4}D)?|\d{1,4}D)"

PATTERN_OF_FORMAT = {
    "email": rf"^[A-Za-z0-9_%+-]+(\.[A-Za-z0-9_%+-]+)*@({_LABEL}\.)+[A-Za-z]{{2,24}}$",
    "hostname": rf"^({_LABEL}\.)*{_LABEL}$",
    "ipv4": rf"^({_BYTE}\.){{3}}{_BYTE}$",
    "ipv6": f"^(({_GROUP}:){{7}}{_GROUP}|{_SHORT_IPV6}|({_GROUP}:){{1,7}}:|:(:{_GROUP}){{1,7}}|::)$",
    "duration": rf"^P({_DAYS}(T{_CLOCK})?|T{_CLOCK}|\d{{1,4}}W)$",
    "uri": rf"^[A-Za-z][A-Za-z0-9+.-]*:{_OF_URI}+(#{_OF_URI}*)?$",
}
"""Patterns that `loragen.contract.text_pattern` reads, by the name of the format."""
