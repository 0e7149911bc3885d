"""Which URLs of OpenID providers are trusted."""

import pytest

from cloud_service.access.token_rules import verify_url


@pytest.mark.parametrize(
    "url", ["https://id.example.com", "https://id.example.com/realms/a/", "http://127.0.0.1:5556", "http://localhost/x"]
)
def test_url_over_https_or_of_loopback_is_taken_as_it_is(url: str) -> None:
    assert verify_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "id.example.com",
        "http://id.example.com",
        "http://127.0.0.1.example.com",
        "ftp://127.0.0.1",
        "file:///etc/keys",
        "https://",
        "https://user:secret@id.example.com",
        "https://id.example.com/?x=1",
        "https://id.example.com/#x",
        "https://id.example.com/\n",
        "https://[::1",
    ],
)
def test_any_other_url_is_refused_and_no_secret_in_it_is_quoted(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        verify_url(url)
    assert "secret" not in str(caught.value)
