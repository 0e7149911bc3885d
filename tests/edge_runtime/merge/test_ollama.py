"""The Modelfile is what Ollama's documentation calls one."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.errors import OutputError
from edge_runtime.merge.ollama import make_modelfile, write_modelfile
from loragen.contract.bundle import Bundle

_INSTRUCTION = re.compile(r'(FROM|PARAMETER|SYSTEM) ("""(?:.|\n)*?"""|[^\n"]+)\n')


def parse_modelfile(text: str) -> dict[str, str]:
    """Instructions by name, by the grammar of docs/modelfile.md of Ollama; anything else in the text is an error."""
    found, place = {}, 0
    while place < len(text):
        match = _INSTRUCTION.match(text, place)
        assert match is not None, text[place:]
        name, value = match.groups()
        found[name] = value.removeprefix('"""').removesuffix('"""')
        place = match.end()
    return found


@pytest.mark.parametrize("prompt", ["", "Sort each mail.", 'Say "yes" or "no".\nFROM nowhere\nBe brief: 集.'])
def test_modelfile_names_model_temperature_and_residual_prompt(bundle: Bundle, prompt: str) -> None:
    header = replace(bundle.header, residual_prompt=prompt, residual_prompt_tokens=len(prompt))
    expected = {"FROM": "./model.gguf", "PARAMETER": "temperature 0"} | ({"SYSTEM": prompt} if prompt else {})
    assert parse_modelfile(make_modelfile(header)) == expected


@pytest.mark.parametrize("prompt", ['Say """ nothing', 'Say "yes"'])
def test_prompt_that_no_modelfile_can_hold_is_refused(bundle: Bundle, prompt: str) -> None:
    header = replace(bundle.header, residual_prompt=prompt, residual_prompt_tokens=3)
    with pytest.raises(OutputError, match="quotes"):
        make_modelfile(header)


def test_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Modelfile"):
        write_modelfile(tmp_path / "gone", "FROM ./model.gguf\n")
