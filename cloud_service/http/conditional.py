"""Rules of content negotiation, conditional requests and ranges (RFC 9110), without I/O.

The routes decide what is offered and where its bytes come from.
"""

import re
from collections.abc import Sequence

from cloud_service.errors import InvalidRequestError, NotAcceptableError, PreconditionError, RangeError
from cloud_service.fleet.channel_writer import Condition

_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII | re.IGNORECASE)
_TAGS = re.compile(r'\s*(?:(?:W/)?"[!#-~\x80-\xff]*")?(?:\s*,\s*(?:(?:W/)?"[!#-~\x80-\xff]*")?)*\s*')
_TAG = re.compile(r'(?:W/)?"[^"]*"')
_QUALITY = re.compile(r"\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", re.ASCII | re.IGNORECASE)


def choose_media_type(accept: str | None, offered: Sequence[str]) -> str:
    """The media type to answer with: the one that the client prefers, among equals the first on offer.

    Raises:
        NotAcceptableError: The client accepts none of them.
    """
    if accept is None or not accept.strip():
        return offered[0]
    wishes = [_parse_wish(part) for part in accept.split(",")]
    qualities = [_quality(media_type, wishes) for media_type in offered]
    best = max(qualities)
    if best == 0:
        raise NotAcceptableError(f"expected Accept to allow {' or '.join(offered)}", "send one of them, or */*")
    return offered[qualities.index(best)]


def prefers_async(prefer: Sequence[str]) -> bool:
    """Whether headers `Prefer` (RFC 7240) ask for an answer later; other preferences are not known here."""
    parts = (part.partition(";")[0].strip().lower() for line in prefer for part in line.split(","))
    return "respond-async" in parts


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether the client has the representation already, by `If-None-Match`, compared weakly."""
    if if_none_match is None:
        return False
    tags = {tag.removeprefix("W/") for tag in _TAG.findall(if_none_match)}
    return etag in tags or if_none_match.strip() == "*"


def verify_match(etag: str, if_match: str | None) -> None:
    """Return unless `If-Match` names other representations only; weak tags never match.

    Raises:
        InvalidRequestError: The header has no entity tags.
        PreconditionError: It names others.
    """
    if if_match is not None and (tags := _parse_tags("If-Match", if_match)) is not None and etag not in tags:
        raise PreconditionError(f"expected {etag} in If-Match, found other entity tags", "read it again")


def change_condition(if_match: str | None, if_none_match: str | None) -> Condition:
    """What a channel must be like for a change of one of its names: the tags are the channel's, `*` is about the name.

    Raises:
        InvalidRequestError: A header has no entity tags.
    """
    wanted = None if if_match is None else _parse_tags("If-Match", if_match)
    unwanted = None if if_none_match is None else _parse_tags("If-None-Match", if_none_match)

    def holds(digest: str, name_exists: bool) -> bool:
        etag = f'"{digest}"'
        if if_match is not None and not (name_exists if wanted is None else etag in wanted):
            return False
        if if_none_match is None:
            return True
        return not (name_exists if unwanted is None else etag in {tag.removeprefix("W/") for tag in unwanted})

    return holds


def select_range(header: str | None, if_range: str | None, etag: str, size: int) -> tuple[int, int] | None:
    """The range to send as (start, stop), stop excluded; None for all bytes.

    Only a single range of bytes is sent. For several ranges, other units, and a range of bytes that have changed, the
    client gets all bytes, as the RFC allows.

    Raises:
        RangeError: The range begins behind the end.
    """
    if header is None or (if_range is not None and if_range.strip() != etag):
        return None
    match = _RANGE.fullmatch(header)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise RangeError(size)
    return start, stop


def _parse_tags(header: str, value: str) -> frozenset[str] | None:
    """The entity tags; None for `*`."""
    if value.strip() == "*":
        return None
    tags = frozenset(_TAG.findall(value))
    if not tags or not _TAGS.fullmatch(value):
        raise InvalidRequestError(
            f"{header}: expected * or entity tags in double quotes, found {len(value)} other characters",
            "send the header ETag of an answer as it is",
        )
    return tags


def _parse_wish(part: str) -> tuple[str, float]:
    media_range, *parameters = part.split(";")
    for parameter in parameters:
        if match := _QUALITY.fullmatch(parameter):
            return media_range.strip().lower(), float(match[1])
    return media_range.strip().lower(), 1.0


def _quality(media_type: str, wishes: Sequence[tuple[str, float]]) -> float:
    # The most specific wish decides, even when it is a refusal.
    for pattern in (media_type, f"{media_type.split('/')[0]}/*", "*/*"):
        matching = [quality for wish, quality in wishes if wish == pattern]
        if matching:
            return max(matching)
    return 0.0
