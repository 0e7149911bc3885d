"""A start with another base GGUF: what served on the old one is neither used nor lost."""

from pathlib import Path

from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import ask, device, entry, files, make_settings


async def test_state_of_another_edge_model_is_dropped(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    cloud.publish(cloud.make("router"))
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings) as parts:
        await parts.updater.tick()
    path = tmp_path / "edge/state.json"
    path.write_text(path.read_text().replace(cloud.edge_model_digest, "f" * 64))
    async with device(settings) as parts:
        assert [model.state for model in parts.device.models()] == ["base"]


def other_base(base_gguf: Path, path: Path, digest: str) -> Path:
    """The same weights, as the base GGUF of another edge model."""
    path.write_bytes(base_gguf.read_bytes().replace(digest.encode(), b"f" * 64))
    return path


async def test_start_with_the_wrong_base_deletes_nothing(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """Not at the next start with it either; and with the right one, what served serves again without the cloud."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        await parts.updater.tick()
        before = await ask(parts, "router")
    kept = {folder: files(tmp_path / "edge" / folder) for folder in ("banks", "bundles", "slots")}
    wrong = other_base(tiny_base, tmp_path / "wrong.gguf", cloud.edge_model_digest)
    for _ in range(2):
        async with device(make_settings(tmp_path / "edge", wrong, None)) as parts:
            await parts.updater.tick()
            assert [model.state for model in parts.device.models()] == ["base"]
    assert all(names <= files(tmp_path / "edge" / folder) for folder, names in kept.items())
    async with device(make_settings(tmp_path / "edge", tiny_base, None)) as parts:
        assert await ask(parts, "router") == before
        await parts.updater.tick()
    assert {folder: files(tmp_path / "edge" / folder) for folder in kept} == kept


async def test_new_base_cleans_up_once_its_channel_was_heard(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """Of the old one, bundles that the channel still lists stay, and serve when it is back."""
    wanted, gone = cloud.make("router", 1), cloud.make("gone", 2)
    cloud.publish(wanted, gone)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
    cloud.unpublish("gone")
    new = other_base(tiny_base, tmp_path / "new.gguf", cloud.edge_model_digest)
    async with device(make_settings(tmp_path / "edge", new, cloud.url)) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").state == "failed"
    assert {name.split(".")[0] for name in files(tmp_path / "edge/slots")} == {"base"}
    assert files(tmp_path / "edge/bundles") == {f"{wanted.bundle_id}.safetensors"}
    async with device(make_settings(tmp_path / "edge", tiny_base, None)) as parts:
        assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"
        assert entry(parts, "gone").state == "failed"
