"""Coordinator: brings the bundle of a specialization to the device's disk, by the shortest way.

It is on disk already; or the recipe and the generator's bank are fetched, and `loragen.contract.assembly` builds the
bundle from them, bit for bit; or the bundle itself is fetched, as is every bundle that a user imported. A bank that
would not leave room for bundle and adapter is not fetched. In each case the bytes must have the announced id, and their
header must agree with the channel. How bytes travel is left to the fetcher, what becomes of a bundle to the installer.

Rule: what reads numbers is imported by the threads that do, so that a device without a bundle needs no numpy.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge_runtime.cloud.fetcher import HttpFetcher
from edge_runtime.errors import CloudUnreachableError, DigestMismatchError, OutputError, UpdateError
from edge_runtime.free_space import SPARE_BYTES
from edge_runtime.updates.disk import DataDirectory, is_shortage
from edge_runtime.updates.rules import verify_announced
from loragen.contract.atomic import write_atomic
from loragen.contract.channel import RecipeReference, Specialization
from loragen.contract.errors import ContractError

if TYPE_CHECKING:
    from loragen.contract.bank import Bank
    from loragen.contract.bundle import Bundle
    from loragen.contract.recipe import Recipe

Source = Literal["disk", "recipe", "bundle"]


class Artifacts:
    """Bundles and banks on disk, and the way to those that are not there.

    Args:
        disk: Where they are kept.
        fetcher: The cloud.
        max_bank_bytes: Largest bank to fetch; 0 never builds from recipes.
    """

    def __init__(self, disk: DataDirectory, fetcher: HttpFetcher, max_bank_bytes: int) -> None:
        self._disk = disk
        self._fetcher = fetcher
        self._max_bank_bytes = max_bank_bytes
        self._bank: Bank | None = None

    async def bundle(self, wanted: Specialization) -> tuple[Bundle, Source]:
        """The bundle of a specialization, which is on disk afterwards.

        Raises:
            UpdateError: It could not be had.
            ContractError: It is not what the channel says, or malformed.
            OutputError: It could not be written.
        """
        source: Source = "disk"
        try:
            bundle = await self.stored(wanted.bundle_id)
        except DigestMismatchError:
            source = await self._obtain(wanted)
            bundle = await self.stored(wanted.bundle_id)
        verify_announced(bundle.header, wanted)
        return bundle, source

    async def stored(self, bundle_id: str) -> Bundle:
        """A bundle that is on disk.

        Raises:
            IntegrityError: It is not there, or has been damaged; a damaged file is removed.
            UpdateError: It cannot be read now.
            ContractError: It is malformed.
        """
        return await asyncio.to_thread(_read_bundle, self._disk.bundle(bundle_id), bundle_id)

    async def _obtain(self, wanted: Specialization) -> Source:
        by_recipe: Exception | None = None
        if self._max_bank_bytes > 0 and wanted.recipe is not None:
            try:
                await self._build(wanted, wanted.recipe)
                return "recipe"
            except CloudUnreachableError:
                # The bundle would come over the same network.
                raise
            except (UpdateError, ContractError, OutputError) as error:
                by_recipe = error
        path = self._disk.bundle(wanted.bundle_id)
        try:
            # Its adapter is as long.
            spare = wanted.bundle_bytes + SPARE_BYTES
            await self._fetcher.download_bundle(wanted.bundle_id, wanted.bundle_bytes, path, spare)
        except (UpdateError, OutputError) as error:
            if by_recipe is not None:
                error.add_note(f"before that, by recipe: {by_recipe}")
            raise
        return "bundle"

    async def _build(self, wanted: Specialization, source: RecipeReference) -> None:
        data = await self._fetcher.fetch_recipe(source.id, source.bytes)
        recipe = await asyncio.to_thread(_parse_recipe, data)
        bank = await self._open_bank(source, 2 * wanted.bundle_bytes + SPARE_BYTES)
        built, built_id = await asyncio.to_thread(_build_bundle, bank, recipe)
        if built_id != wanted.bundle_id:
            raise DigestMismatchError(
                f"{wanted.name}: expected bundle {wanted.bundle_id}, the recipe builds {built_id}",
                "the recipe has other gates, or the cloud assembles in another way; the bundle itself is fetched",
            )
        try:
            await asyncio.to_thread(write_atomic, self._disk.bundle(wanted.bundle_id), built)
        except OSError as error:
            raise OutputError(f"cannot write a bundle: {error.strerror or error}", "free some space") from error

    async def _open_bank(self, source: RecipeReference, spare: int) -> Bank:
        if self._bank is not None and self._bank.digest == source.bank_digest:
            return self._bank
        path = self._disk.bank(source.bank_digest)
        try:
            self._bank = await asyncio.to_thread(_open_bank, path, source.bank_digest)
        except FileNotFoundError:
            await self._fetcher.download_bank(
                source.generator_id, source.bank_digest, self._max_bank_bytes, path, spare
            )
            self._bank = await asyncio.to_thread(_open_bank, path, source.bank_digest)
        return self._bank


def _parse_recipe(data: bytes) -> Recipe:
    from loragen.contract.recipe import parse_recipe

    return parse_recipe(data)


def _build_bundle(bank: Bank, recipe: Recipe) -> tuple[bytes, str]:
    """The bytes of a bundle, and its id."""
    from loragen.contract.assembly import build_bundle
    from loragen.contract.bundle import content_id

    built = build_bundle(bank, recipe)
    return built, content_id(built)


def _open_bank(path: Path, digest: str) -> Bank:
    from loragen.contract.bank import Bank

    try:
        return Bank.open(path, expected_digest=digest)
    except ContractError:
        # Damaged on disk, or malformed though its digest is right: either way this file will not do.
        _drop(path)
        raise
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DigestMismatchError(
            f"bank {digest} cannot be read: {error.strerror or error}", "check the disk"
        ) from error


def _read_bundle(path: Path, bundle_id: str) -> Bundle:
    from loragen.contract.bundle import content_id, parse_bundle

    try:
        data = path.read_bytes()
    except OSError as error:
        if is_shortage(error):
            raise UpdateError(f"bundle {bundle_id} cannot be read now: {error.strerror}") from error
        raise DigestMismatchError(
            f"bundle {bundle_id} is not on disk: {error.strerror}", "it is fetched again"
        ) from error
    if content_id(data) != bundle_id:
        _drop(path)
        raise DigestMismatchError(f"bundle {bundle_id} was damaged on disk", "it is fetched again")
    return parse_bundle(data)


def _drop(path: Path) -> None:
    """Delete a file that will not do; on a disk that became read-only it is found to be so again."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
