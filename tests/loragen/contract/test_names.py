"""Names: which exist, and how refusals read."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragen.contract.errors import FormatError
from loragen.contract.names import gguf_name, peft_name, verify_device_name, verify_digest, verify_model_id, verify_name


@pytest.mark.parametrize("name", ["a", "7", "tool-router", "v1.2_b", "a" * 64])
def test_plain_name_is_accepted(name: str) -> None:
    assert verify_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "a" * 65, "-a", "a-", ".", "..", "a..b", "a/b", "a\\b", "a b", "a\n", "\n", "ä", "ａ", "a\0", "~", "%2e"],
)
def test_name_that_could_be_a_path_or_a_trick_is_refused(name: str) -> None:
    with pytest.raises(FormatError) as raised:
        verify_name(name)
    assert str(raised.value).isprintable()
    assert raised.value.hint


def test_device_name_may_be_as_long_as_a_dns_name() -> None:
    assert verify_device_name("n" * 63 + ".x" * 95) == "n" * 63 + ".x" * 95
    for name in ("a" * 254, "", "A", "a..b", "../a", "a\n"):
        with pytest.raises(FormatError):
            verify_device_name(name)


@pytest.mark.parametrize("model_id", ["tiny-edge", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "Qwen/Qwen2.5-0.5B"])
def test_hugging_face_id_is_accepted(model_id: str) -> None:
    assert verify_model_id(model_id) == model_id


@pytest.mark.parametrize("model_id", ["", "/a", "a/", "a//b", "a/b/c", "../a", "a/..", "a b", "a\n", "a" * 97, "-a/b"])
def test_model_id_that_could_be_a_path_is_refused(model_id: str) -> None:
    with pytest.raises(FormatError):
        verify_model_id(model_id)


@given(st.text())
def test_any_text_is_a_name_or_a_format_error(text: str) -> None:
    for verify in (verify_name, verify_device_name, verify_model_id, verify_digest):
        with suppress(FormatError):
            assert verify(text) == text


@given(st.text(alphabet="\x00/\U0001f600é", min_size=1, max_size=300))
def test_refusal_of_a_hostile_name_is_short_and_printable(text: str) -> None:
    for verify in (verify_name, verify_device_name, verify_model_id, verify_digest):
        with pytest.raises(FormatError) as raised:
            verify(text)
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 200


def test_tensor_names_are_those_of_the_two_libraries() -> None:
    assert peft_name(3, "gate", "A") == "base_model.model.model.layers.3.mlp.gate_proj.lora_A.weight"
    assert gguf_name(3, "gate") == "blk.3.ffn_gate.weight"
