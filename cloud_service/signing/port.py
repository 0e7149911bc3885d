"""The port through which HTTP sees signed channels. It is free of TUF, which a service that signs none never loads."""

from typing import Protocol

METADATA_FILE_PATTERN = r"^(?:timestamp|[1-9][0-9]{0,27}\.(?:root|snapshot|targets))\.json$"
"""Regular expression of the names of metadata files."""


class MetadataSource(Protocol):
    """Where metadata files come from."""

    async def load(self, channel: str, name: str) -> bytes:
        """A metadata file of a channel.

        Args:
            channel: A valid name.
            name: Of the file; matches `METADATA_FILE_PATTERN`.

        Raises:
            NotFoundError: The channel is not signed or not there, or the file is not one of the present ones.
            SigningError: The keys will not do; why is in the log.
            StoreUnavailableError: The store does not answer.
        """
        ...
