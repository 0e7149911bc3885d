"""Commands over the socket in the data directory, and on the state while no device runs."""

import asyncio
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.commands import act_on_state, listening, send
from edge_runtime.errors import DigestMismatchError, EdgeError, OutputError, UpdateError
from edge_runtime.updates.disk import DataDirectory
from edge_runtime.updates.lock import locked
from edge_runtime.updates.state import Command, DeviceState, Entry, Installed, StateFile
from loragen.web.errors import ConfigurationError
from tests.full_disk import read_only_disk

ONE, TWO = "1" * 64, "2" * 64
ROLLBACK = Command("rollback", "router")


class Owner:
    """Carries commands out, or refuses them."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.commands: list[Command] = []
        self.refusal = refusal

    async def obey(self, command: Command) -> str:
        self.commands.append(command)
        if self.refusal is not None:
            raise self.refusal
        return "done"


async def test_command_is_carried_out_and_answered(tmp_path: Path) -> None:
    owner, path = Owner(), tmp_path / "s"
    async with listening(path, owner.obey):
        assert await asyncio.to_thread(send, path, ROLLBACK) == "done"
        assert await asyncio.to_thread(send, path, Command("pin", "router")) == "done"
    assert owner.commands == [ROLLBACK, Command("pin", "router")]


async def test_only_the_owner_can_connect(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with listening(path, Owner().obey):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_refusal_comes_back_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with listening(path, Owner(UpdateError("nothing before it", "wait", code="no_previous")).obey):
        with pytest.raises(UpdateError, match="nothing before it") as caught:
            await asyncio.to_thread(send, path, ROLLBACK)
    assert (caught.value.code, caught.value.hint) == ("no_previous", "wait")


async def test_unforeseen_failure_is_logged_and_says_nothing_of_itself(tmp_path: Path, caplog) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "s"
    async with listening(path, Owner(RuntimeError("a bug")).obey):
        with pytest.raises(UpdateError, match="the command failed") as caught:
            await asyncio.to_thread(send, path, ROLLBACK)
    assert caught.value.code == "internal_error"


def ask(path: Path, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(line)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"rollback router\n",
        b'{"action": "delete", "name": "router"}\n',
        b'{"action": "rollback", "name": "../../etc/passwd"}\n',
        b'{"action": "rollback", "name": "router", "more": 1}\n',
        b"x" * 100_000 + b"\n",
    ],
)
async def test_line_that_is_no_command_is_refused_and_the_next_is_taken(tmp_path: Path, line: bytes) -> None:
    owner, path = Owner(), tmp_path / "s"
    async with listening(path, owner.obey):
        answer = await asyncio.to_thread(ask, path, line)
        assert answer == b"" or b'"code"' in answer
        assert owner.commands == []
        assert await asyncio.to_thread(send, path, ROLLBACK) == "done"


async def test_device_that_stops_answers_nothing(tmp_path: Path) -> None:
    path, started = tmp_path / "s", asyncio.Event()

    async def obey(command: Command) -> str:
        started.set()
        await asyncio.sleep(60)
        return "late"

    async with listening(path, obey):
        sending = asyncio.ensure_future(asyncio.to_thread(send, path, ROLLBACK))
        await started.wait()
    with pytest.raises(UpdateError, match="stopped before"):
        await sending


async def test_device_that_takes_long_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def obey(command: Command) -> str:
        await asyncio.sleep(60)
        return "late"

    async with listening(path, obey):
        with pytest.raises(UpdateError, match=r"within 0\.1 s"):
            await asyncio.to_thread(send, path, ROLLBACK, 0.1)


async def test_socket_that_a_killed_device_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(str(path))
    with pytest.raises(UpdateError) as caught:
        send(path, ROLLBACK)
    assert caught.value.code == "not_ready"
    async with listening(path, Owner().obey):
        assert await asyncio.to_thread(send, path, ROLLBACK) == "done"


async def test_device_without_a_socket_serves_all_the_same(tmp_path: Path) -> None:
    """A path that is too long for a socket, or a disk that is read-only."""
    path = tmp_path / ("x" * 120)
    async with listening(path, Owner().obey):
        with pytest.raises(UpdateError):
            send(path, ROLLBACK)


def state_on_disk(tmp_path: Path) -> DataDirectory:
    disk = DataDirectory(tmp_path / "edge")
    entry = Entry(Installed(TWO, "adapter", 9, 1), previous=Installed(ONE, "adapter", 9, 1))
    StateFile(disk.state).store(DeviceState("e" * 64, "default", entries={"router": entry}))
    for bundle_id in (ONE, TWO):
        disk.bundle(bundle_id).touch()
    return disk


def entry_on_disk(disk: DataDirectory) -> Entry:
    state, _ = StateFile(disk.state).peek()
    assert state is not None
    return state.entries["router"]


def test_command_without_a_device_changes_the_state(tmp_path: Path) -> None:
    disk = state_on_disk(tmp_path)
    assert TWO in act_on_state(disk, Command("pin", "router"))
    assert entry_on_disk(disk).pinned
    assert ONE in act_on_state(disk, ROLLBACK)
    after = entry_on_disk(disk)
    assert (after.active.bundle_id, after.rolled_back_from, after.pinned) == (ONE, TWO, True)
    act_on_state(disk, Command("unpin", "router"))
    assert not entry_on_disk(disk).pinned


def test_rollback_to_a_bundle_that_is_gone_is_refused(tmp_path: Path) -> None:
    """The next start would find nothing to serve, and forget what serves now."""
    disk = state_on_disk(tmp_path)
    disk.bundle(ONE).unlink()
    with pytest.raises(DigestMismatchError, match=ONE):
        act_on_state(disk, ROLLBACK)
    assert entry_on_disk(disk).active.bundle_id == TWO


@pytest.mark.parametrize("name", ["other", "router-2"])
def test_command_for_what_is_not_installed_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UpdateError) as caught:
        act_on_state(state_on_disk(tmp_path), Command("pin", name))
    assert caught.value.code == "not_installed"
    with pytest.raises(UpdateError):
        act_on_state(DataDirectory(tmp_path / "empty"), Command("pin", name))


def test_state_of_a_running_device_is_left_alone(tmp_path: Path) -> None:
    disk = state_on_disk(tmp_path)
    with locked(disk.root), pytest.raises(ConfigurationError, match="another daemon"):
        act_on_state(disk, ROLLBACK)


def test_state_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    disk = state_on_disk(tmp_path)
    with locked(disk.root):
        pass
    with read_only_disk(), pytest.raises(OutputError) as caught:
        act_on_state(disk, ROLLBACK)
    assert isinstance(caught.value, EdgeError)


def test_channel_is_accepted_without_a_device(tmp_path: Path) -> None:
    disk = state_on_disk(tmp_path)
    file = StateFile(disk.state)
    state, _ = file.load()
    assert state is not None
    file.store(replace(state, channel_version=9))
    assert "followed" in act_on_state(disk, Command("accept", "default"))
    after, _ = file.load()
    assert after is not None
    assert (after.channel_version, after.entries) == (None, state.entries)
    with pytest.raises(UpdateError):
        act_on_state(disk, Command("accept", "other"))
