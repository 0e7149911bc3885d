"""What the cloud writes into the TUF metadata of a signed channel, and a device looks up there.

A channel that its owner signs is a TUF repository whose targets are the channel documents that devices may follow now.
A document holds the digests of everything else, so a signature of it covers bundles, recipes and banks as well. How
metadata are signed and verified is left to python-tuf, in the services.
"""

import re

from loragen.contract.digest import sha256_hex
from loragen.contract.errors import FormatError

RUNTIME_FIELD = "minimum_runtime_version"
"""Custom field of a target: the oldest device that understands the document."""

MINIMUM_RUNTIME_VERSION = "0.1.0"
"""The oldest device that reads the formats as this code writes them; to be raised with a format."""

MAX_METADATA_BYTES = 64 * 1024
"""One metadata file. A root with four keys has 2 KB, a targets file with one document 1 KB."""

_VERSION = re.compile(r"\d{1,9}(?:\.\d{1,9}){0,3}", re.ASCII)


def target_path(document: bytes) -> str:
    """The path under which the targets metadata list a channel document."""
    return f"{sha256_hex(document)}.json"


def is_runtime_old(runtime: str, minimum: str) -> bool:
    """Whether a device of version `runtime` is older than `minimum`; what follows the numbers does not count.

    Raises:
        FormatError: One of them does not begin with numbers and points between them.
    """
    return _numbers(runtime) < _numbers(minimum)


def _numbers(version: str) -> list[int]:
    match = _VERSION.match(version)
    if match is None:
        raise FormatError(f"expected a version like 0.1.0, found {ascii(version)[:40]}")
    numbers = [int(part) for part in match[0].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers
