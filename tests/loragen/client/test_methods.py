"""Methods that are made of calls look like methods that were written."""

import inspect

import pytest

from loragen import AsyncCloudClient, AsyncDeviceClient, CloudClient, DeviceClient
from loragen.client.session import AsyncSession, Session
from loragen.cloud_answers import Generated


@pytest.mark.parametrize(("client", "twin"), [(CloudClient, AsyncCloudClient), (DeviceClient, AsyncDeviceClient)])
def test_async_twin_has_the_same_methods(client: type[Session], twin: type[AsyncSession]) -> None:
    def methods(of: type) -> dict[str, inspect.Signature]:
        return {name: inspect.signature(value) for name, value in vars(of).items() if inspect.isfunction(value)}

    assert methods(client) == methods(twin)
    assert all(inspect.getdoc(getattr(client, name)) for name in methods(client))


def test_signature_is_that_of_a_method() -> None:
    signature = inspect.signature(CloudClient.generate)
    assert [*signature.parameters][:3] == ["self", "task", "publish"]
    assert signature.return_annotation is Generated
