"""What a browser keeps: a cookie that stands for an API key."""

from fastapi import Response

from cloud_service.access.scopes import Scope
from cloud_service.http.console.browser import forget_session, is_console, session_of
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.http.console.people import token_of


async def test_cookie_of_https_is_for_this_host_alone(guarded: Guarded) -> None:
    token = await token_of(guarded, Scope.READ)
    for headers, host in (({"origin": "https://localhost"}, "http://localhost"), ({}, "https://localhost")):
        answer = await guarded.http.post(f"{host}/console/sign-in", data={"key": token}, headers=headers)
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-loragen-console=")
        assert "; Path=/;" in cookie
        assert "Secure" in cookie


def test_console_is_its_path_and_what_lies_below() -> None:
    assert is_console("/console")
    assert is_console("/console/keys")
    assert not is_console("/consoles")
    assert not is_console("/generate-lora")


def test_session_is_found_under_either_name_and_the_safer_one_counts() -> None:
    assert session_of("a=b; loragen-console=plain") == "plain"
    assert session_of("loragen-console=planted; __Host-loragen-console=own") == "own"
    assert session_of("a=b") == session_of("") == ""


def test_forgetting_ends_both_cookies() -> None:
    response = Response()
    forget_session(response)
    ended = [value for name, value in response.headers.items() if name == "set-cookie"]
    assert [cookie.split("=")[0] for cookie in ended] == ["__Host-loragen-console", "loragen-console"]
    assert all("Max-Age=0" in cookie for cookie in ended)
