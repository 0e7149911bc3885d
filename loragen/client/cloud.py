"""Clients of the cloud service. What each method takes and gives is in `cloud_calls` and `fleet_calls`."""

from loragen.client import cloud_calls as calls
from loragen.client import fleet_calls as fleet
from loragen.client.methods import sends, sends_async
from loragen.client.session import AsyncSession, Session


class CloudClient(Session):
    """Generates LoRAs, fetches them and publishes them.

    A call that meets an overloaded or restarting service is repeated, as `Retry-After` asks, within its deadline.

    Example:
        >>> with CloudClient("http://127.0.0.1:8080") as cloud:
        ...     answer = cloud.generate("Say whether a review is positive or negative.", publish="kitchen/reviews")
        ...     bundle = cloud.bundle(answer.id)
    """

    generate = sends(calls.generate)
    generate_bundle = sends(calls.generate_bundle)
    import_adapter = sends(calls.import_adapter)
    bundle = sends(calls.bundle)
    recipe = sends(calls.recipe)
    generators = sends(calls.generators)
    download_bank = sends(calls.download_bank)
    channel = sends(calls.channel)
    publish = sends(calls.publish)
    withdraw = sends(calls.withdraw)
    channels = sends(fleet.channels)
    versions = sends(fleet.versions)
    channel_at = sends(fleet.channel_at)
    difference = sends(fleet.difference)
    roll_back = sends(fleet.roll_back)
    delete_channel = sends(fleet.delete_channel)
    events = sends(fleet.events)
    start_rollout = sends(fleet.start_rollout)
    rollouts = sends(fleet.rollouts)
    change_rollout = sends(fleet.change_rollout)
    devices = sends(fleet.devices)
    delete_device = sends(fleet.delete_device)


class AsyncCloudClient(AsyncSession):
    """The same as `CloudClient`, for asyncio.

    Example:
        >>> async with AsyncCloudClient("http://127.0.0.1:8080") as cloud:
        ...     answer = await cloud.generate("Say whether a review is positive or negative.")
    """

    generate = sends_async(calls.generate)
    generate_bundle = sends_async(calls.generate_bundle)
    import_adapter = sends_async(calls.import_adapter)
    bundle = sends_async(calls.bundle)
    recipe = sends_async(calls.recipe)
    generators = sends_async(calls.generators)
    download_bank = sends_async(calls.download_bank)
    channel = sends_async(calls.channel)
    publish = sends_async(calls.publish)
    withdraw = sends_async(calls.withdraw)
    channels = sends_async(fleet.channels)
    versions = sends_async(fleet.versions)
    channel_at = sends_async(fleet.channel_at)
    difference = sends_async(fleet.difference)
    roll_back = sends_async(fleet.roll_back)
    delete_channel = sends_async(fleet.delete_channel)
    events = sends_async(fleet.events)
    start_rollout = sends_async(fleet.start_rollout)
    rollouts = sends_async(fleet.rollouts)
    change_rollout = sends_async(fleet.change_rollout)
    devices = sends_async(fleet.devices)
    delete_device = sends_async(fleet.delete_device)
