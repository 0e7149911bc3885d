"""The formats of texts: what `format` of a JSON Schema means, as patterns.

Each pattern is as narrow as is useful, not as wide as its standard: an address has no quotes or comments, a host name
no letters outside of ASCII, a date is one of the calendar with a year from 1 on, and a time says its distance from UTC.
`PATTERN_OF_FORMAT` says what is of a format. `WRITTEN_FORMAT` says what a device writes: the same within a length, so
that an answer comes to its end.
"""

_WORD = "[A-Za-z0-9_%+'-]"
_LABEL = "[A-Za-z0-9]+(-+[A-Za-z0-9]+)*"
_SHORT_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,38}[A-Za-z0-9])?"
_BYTE = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_GROUP = "[0-9A-Fa-f]{1,4}"
_SHORT_IPV6 = "|".join(f"({_GROUP}:){{1,{before}}}(:{_GROUP}){{1,{7 - before}}}" for before in range(1, 7))
_CLOCK = r"(\d{1,4}H(\d{1,4}M(\d{1,4}S)?)?|\d{1,4}M(\d{1,4}S)?|\d{1,4}S)"
_DAYS = r"(\d{1,4}Y(\d{1,4}M(\d{1,4}D)?)?|\d{1,4}M(\d{1,4}D)?|\d{1,4}D)"
_OF_URI = r"([A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"
_YEAR = r"(000[1-9]|00[1-9]\d|0[1-9]\d{2}|[1-9]\d{3})"
_LEAP_YEAR = r"(\d{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_DAY = r"((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
_DATE = f"({_YEAR}-{_DAY}|{_LEAP_YEAR}-02-29)"
_TIME = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)"

PATTERN_OF_FORMAT = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "duration": rf"^P({_DAYS}(T{_CLOCK})?|T{_CLOCK}|\d{{1,4}}W)$",
    "email": rf"^{_WORD}+(\.{_WORD}+)*@({_LABEL}\.)+[A-Za-z]{{2,}}$",
    "hostname": rf"^({_LABEL}\.)*{_LABEL}$",
    "ipv4": rf"^({_BYTE}\.){{3}}{_BYTE}$",
    "ipv6": f"^(({_GROUP}:){{7}}{_GROUP}|{_SHORT_IPV6}|({_GROUP}:){{1,7}}:|:(:{_GROUP}){{1,7}}|::)$",
    "uri": rf"^[A-Za-z][A-Za-z0-9+.-]*:{_OF_URI}+(#{_OF_URI}*)?$",
    "uuid": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
}
"""Patterns that `loragen.contract.text_pattern` reads, by the name of the format."""

WRITTEN_FORMAT = PATTERN_OF_FORMAT | {
    # at most 63 characters in front of the @, 252 in all
    "email": rf"^{_WORD}(\.?{_WORD}){{0,31}}@({_SHORT_LABEL}\.){{1,4}}[A-Za-z]{{2,24}}$",
    "hostname": rf"^({_SHORT_LABEL}\.){{0,5}}{_SHORT_LABEL}$",
    "uri": rf"^[A-Za-z][A-Za-z0-9+.-]{{0,15}}:{_OF_URI}{{1,250}}(#{_OF_URI}{{0,60}})?$",
}
"""The same within a length: no answer of one of these goes on for ever."""
