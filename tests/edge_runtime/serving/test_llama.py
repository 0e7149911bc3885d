"""The llama.cpp adapter on a tiny real model."""

import ctypes
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from edge_runtime.errors import (
    ContextLengthError,
    InvalidRequestError,
    ModelLoadError,
    ModelOutputError,
)
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge.merger import merge
from edge_runtime.serving.chat import ChatMessage
from edge_runtime.serving.engine import GREEDY, Sampling
from edge_runtime.serving.llama import LlamaEngine, LlamaLoader
from edge_runtime.serving.llama_context import LlamaContext
from edge_runtime.serving.prefix_cache import CHUNK
from loragen.contract.bundle import parse_bundle
from tests.edge_runtime.contracts import DESKS
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.serving.alone import decode, logits, only, prefill, probabilities, score
from tests.edge_runtime.tiny_models import SPECIAL, TEMPLATE

PROMPT = "The quick brown fox, aged 12, jumps"


@pytest.fixture
def loader() -> LlamaLoader:
    return LlamaLoader(context_tokens=256, threads=1)


@pytest.fixture
def engine(loader: LlamaLoader, tiny_base: Path) -> Iterator[LlamaEngine]:
    made = loader.load(tiny_base, None)
    yield made
    made.close()


def answer(engine: LlamaEngine, tokens: list[int], count: int = 12, sampling: Sampling = GREEDY) -> tuple[int, bytes]:
    """Tokens that were cached, and the answer."""
    cached = prefill(engine, tokens)
    return cached, b"".join(token.piece for token in decode(engine, sampling, count))


def reference(model: Path, tokens: list[int], count: int) -> list[int]:
    """Greedy tokens by the library's own high-level class."""
    llama = llama_cpp.Llama(str(model), n_ctx=256, n_threads=1, verbose=False)
    found = []
    for token in llama.generate(tokens, top_k=1, temp=0.0):
        if len(found) == count or llama_cpp.llama_vocab_is_eog(llama._model.vocab, token):
            break
        found.append(token)
    llama.close()
    return found


def test_greedy_answer_is_that_of_the_high_level_class(engine: LlamaEngine, tiny_base: Path) -> None:
    tokens = engine.tokenize(PROMPT)
    expected = reference(tiny_base, tokens, 12)
    assert answer(engine, tokens)[1] == b"".join(engine._model.piece(token) for token in expected)


def test_threads_are_measured_once_and_leave_nothing_behind(
    engine: LlamaEngine, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def step_seconds(context: LlamaContext, threads: int) -> float:
        measured.append(threads)
        real(context, threads)
        return float(threads)

    real = LlamaContext.step_seconds
    monkeypatch.setattr(LlamaContext, "step_seconds", step_seconds)
    loader = LlamaLoader(context_tokens=256, threads=2, measures_threads=True)
    assert loader.threads == 2
    for _ in range(2):
        made = loader.load(tiny_base, None)
        tokens = made.tokenize(PROMPT)
        assert answer(made, tokens) == answer(engine, tokens)
        made.close()
    assert measured == [2, 1]
    assert loader.threads == 1


def test_common_prefix_is_computed_once_and_changes_nothing(
    engine: LlamaEngine, loader: LlamaLoader, tiny_base: Path
) -> None:
    """A long shared prefix is reused in whole chunks, as is a repeated prompt, and the answers are the same."""
    first = engine.tokenize(PROMPT * 5 + " over the lazy dog")
    second = engine.tokenize(PROMPT * 5 + " add(a, b)")
    assert answer(engine, first)[0] == 0
    cached, text = answer(engine, second)
    assert 0 < cached < len(second)
    assert cached % CHUNK == 0
    assert answer(engine, second) == ((len(second) - 1) // CHUNK * CHUNK, text)
    uncached = LlamaLoader(256, 1, prefix_cache=False).load(tiny_base, None)
    assert answer(uncached, second) == answer(uncached, second) == (0, text)
    uncached.close()


@pytest.mark.parametrize("count", [5, 32, 45, 64, 100, 140])
def test_prompt_gives_the_same_logits_whatever_was_cached(engine: LlamaEngine, tiny_base: Path, count: int) -> None:
    """To the last bit: at temperature 0 an answer can be repeated."""
    rng = np.random.default_rng(count)
    prompt = [int(token) for token in rng.integers(len(SPECIAL), engine.vocab_tokens, count)]
    everything = range(engine.vocab_tokens)
    uncached = LlamaLoader(256, 1, prefix_cache=False).load(tiny_base, None)
    prefill(uncached, prompt)
    expected = probabilities(uncached, everything)
    uncached.close()
    for common in (count // 4, count // 2, count - 3, count):
        answer(engine, [*prompt[:common], *prompt[:5]])
        prefill(engine, prompt)
        assert probabilities(engine, everything) == expected


@pytest.mark.parametrize(("count", "beginning"), [(45, 20), (100, 32), (100, 47), (140, 139)])
def test_system_message_that_was_used_again_gives_the_same_logits(
    engine: LlamaEngine, tiny_base: Path, count: int, beginning: int
) -> None:
    rng = np.random.default_rng(count)
    prompt = [int(token) for token in rng.integers(len(SPECIAL), engine.vocab_tokens, count)]
    everything = range(engine.vocab_tokens)
    uncached = LlamaLoader(256, 1, prefix_cache=False).load(tiny_base, None)
    prefill(uncached, prompt, beginning)
    expected = probabilities(uncached, everything)
    uncached.close()
    others = ((prompt[:beginning], beginning), ([*prompt[:beginning], 7, 8], beginning), (prompt, 0), (prompt, 16))
    for other, its_beginning in others:
        prefill(engine, [*other], its_beginning)
        cached = prefill(engine, prompt, beginning)
        assert probabilities(engine, everything) == expected
        if its_beginning == beginning:
            assert cached == beginning


def test_score_tells_each_token_what_the_model_gave_it(engine: LlamaEngine) -> None:
    """As decoding it step by step would; afterwards an answer follows as ever."""
    prompt = engine.tokenize(PROMPT * 4)
    first, *scored, following = score(engine, prompt, 2)
    assert (len(scored) + 1, first.likelihood, first.likeliest) == (len(prompt), None, ())
    assert b"".join(token.piece for token in (first, *scored)) == b"".join(
        engine._model.piece(token, markup=True) for token in prompt
    )
    text = b"".join(token.piece for token in decode(engine, GREEDY, 12))
    for place in (1, 7, len(prompt) - 1):
        prefill(engine, prompt[:place])
        logprobs = np.log(probabilities(engine, range(engine.vocab_tokens)))
        found = scored[place - 1]
        assert found.likelihood is not None
        assert found.likelihood.logprob == pytest.approx(logprobs[prompt[place]], abs=0.05)
        best, second = found.likeliest
        assert best.logprob == pytest.approx(logprobs.max(), abs=0.05)
        assert second.logprob <= best.logprob
    assert following.likelihood == following.likeliest[0]
    assert answer(engine, prompt)[1] == text


def test_template_that_does_not_compile_leaves_the_rest_alive(engine: LlamaEngine) -> None:
    assert engine.chat_problem == ""
    engine._model.use_template("{% for message in %}")
    try:
        assert "does not compile" in engine.chat_problem
        with pytest.raises(InvalidRequestError, match="does not compile"):
            engine.tokenize_chat([ChatMessage("user", "hi")])
        assert answer(engine, engine.tokenize(PROMPT))[1]
    finally:
        engine._model.use_template(TEMPLATE)
    assert engine.chat_problem == ""


def test_abandoned_answer_leaves_a_context_that_is_still_right(engine: LlamaEngine) -> None:
    tokens = engine.tokenize(PROMPT)
    _, text = answer(engine, tokens)
    prefill(engine, tokens)
    pieces = only(engine).decode(GREEDY, 12)
    assert [next(pieces), next(pieces)][1] is None, "and the token is never computed"
    only(engine).close()
    other = only(engine).prefill(engine.tokenize("Zürich 東京" * 20))
    next(other)
    engine.step()
    only(engine).close()
    assert answer(engine, tokens)[1] == text


def test_seed_repeats_a_sample_and_temperature_matters(engine: LlamaEngine) -> None:
    tokens = engine.tokenize(PROMPT)
    warm = Sampling(temperature=1.5, seed=7)
    assert answer(engine, tokens, sampling=warm)[1] == answer(engine, tokens, sampling=warm)[1]
    drawn = {answer(engine, tokens, sampling=Sampling(temperature=1.5, seed=seed))[1] for seed in range(6)}
    assert len(drawn) > 1
    narrow = Sampling(temperature=1.5, top_p=1e-6, seed=3)
    assert answer(engine, tokens, sampling=narrow)[1] == answer(engine, tokens)[1]


@pytest.mark.parametrize("temperature", [5e-324, 1e-45, 1e-38, 1e-7, 1e-6])
def test_temperature_next_to_zero_is_greedy(engine: LlamaEngine, temperature: float) -> None:
    tokens = engine.tokenize(PROMPT)
    for choices in ((), ("play", "stop", "Zürich")):
        greedy, cold = (Sampling(temperature=degrees, seed=3, choices=choices) for degrees in (0.0, temperature))
        assert answer(engine, tokens, sampling=cold)[1] == answer(engine, tokens, sampling=greedy)[1]


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.5, top_p=0.9, seed=1)])
def test_answer_is_one_of_the_choices_whatever_the_model_says(engine: LlamaEngine, sampling: Sampling) -> None:
    tokens = engine.tokenize(PROMPT)
    for choices in (("Zürich", "東京"), ("play", "play_music", "playlist"), ("<|end|>",), ('a "b"\n\\c',)):
        _, text = answer(engine, tokens, 60, replace(sampling, choices=choices))
        assert text.decode() in choices
    assert answer(engine, tokens, sampling=sampling)[1], "and any text again without them"


def test_likelier_choice_wins(engine: LlamaEngine) -> None:
    """Among single tokens, greedy takes the one with the highest logit."""
    tokens = engine.tokenize(PROMPT)
    prefill(engine, tokens)
    found = logits(engine)
    single = {engine._model.piece(token): token for token in range(len(SPECIAL), engine.vocab_tokens)}
    pieces = [piece for piece in single if piece.isalpha() and len(piece) == 1]
    assert len(pieces) > 5
    best = max(pieces, key=lambda piece: found[single[piece]])
    choices = tuple(piece.decode() for piece in pieces)
    assert answer(engine, tokens, sampling=replace(GREEDY, choices=choices))[1] == best


def test_choice_that_the_vocabulary_cannot_spell_is_an_error(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine._model, "tokens_of", {b"a": [5]})
    with pytest.raises(ModelOutputError, match="no tokens that spell any of the choices"):
        answer(engine, engine.tokenize(PROMPT), sampling=replace(GREEDY, choices=("Zürich",)))


@pytest.mark.parametrize("penalty", ["presence_penalty", "frequency_penalty"])
def test_penalty_forbids_repetition_when_it_outweighs_the_logits(engine: LlamaEngine, penalty: str) -> None:
    prefill(engine, engine.tokenize(PROMPT))
    pieces = list(decode(engine, Sampling(temperature=0.0, **{penalty: 1000.0}), 100))
    text = [token.piece for token in pieces if token.piece]
    assert len(set(text)) == len(text)
    prefill(engine, engine.tokenize(PROMPT))
    plain = [token.piece for token in decode(engine, GREEDY, 100) if token.piece]
    assert len(set(plain)) < len(plain)


def test_file_that_was_made_anew_is_loaded_anew(loader: LlamaLoader, tiny_base: Path, tmp_path: Path) -> None:
    """Though an engine still serves from what was there before, as after a damaged base was repaired."""
    path, other = tmp_path / "base.gguf", tmp_path / "other.gguf"
    shutil.copy(tiny_base, path)
    shutil.copy(tiny_base, other)
    old = loader.load(path, None)
    other.replace(path)
    new = loader.load(path, None)
    assert new._model is not old._model
    old.close()
    assert answer(new, new.tokenize(PROMPT))[1]
    new.close()
    assert loader._models == {}


def test_engines_with_adapters_share_one_mapped_model(loader: LlamaLoader, tiny_base: Path, adapter: Path) -> None:
    """The base is loaded once, answers as before beside its adapters, and is closed with the last of them."""
    base = loader.load(tiny_base, None)
    special = loader.load(tiny_base, adapter)
    tokens = base.tokenize(PROMPT)
    assert base._model is special._model
    assert answer(base, tokens)[1] != answer(special, tokens)[1]
    expected = answer(special, tokens)[1]
    base.close()
    assert answer(special, tokens)[1] == expected
    special.close()
    assert loader._models == {}
    mapped = Path("/proc/self/maps").read_text()
    assert str(tiny_base) not in mapped
    again = loader.load(tiny_base, adapter)
    assert str(tiny_base) in Path("/proc/self/maps").read_text()
    again.close()


def test_adapter_and_merge_give_the_same_logits(
    loader: LlamaLoader, tiny_base: Path, cloud: FakeCloud, adapter: Path, tmp_path: Path
) -> None:
    """Run-time LoRA and a merge at the base GGUF's precision differ by the rounding of float16."""
    bundle = parse_bundle(cloud.bundles[cloud.make("router").bundle_id])
    merge(tiny_base, bundle, tmp_path / "merged.gguf", Quantization.F16)
    tokens: list[int] = []
    found = []
    for model, lora in ((tiny_base, adapter), (tmp_path / "merged.gguf", None), (tiny_base, None)):
        engine = loader.load(model, lora)
        tokens = tokens or engine.tokenize(PROMPT)
        prefill(engine, tokens)
        found.append(logits(engine))
        engine.close()
    attached, merged, base = found
    assert np.abs(attached - merged).max() < 0.05 * np.abs(attached - base).max()


def test_files_that_cannot_be_loaded_say_why(loader: LlamaLoader, tiny_base: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    for data in (b"", b"not a model", tiny_base.read_bytes()[:5_000], tiny_base.read_bytes()[:-50_000]):
        damaged.write_bytes(data)
        with pytest.raises(ModelLoadError, match="cannot load"):
            loader.load(damaged, None)
        with pytest.raises(ModelLoadError, match="refuses the adapter"):
            loader.load(tiny_base, damaged)
    with pytest.raises(ModelLoadError, match="does not exist"):
        loader.load(tmp_path / "nothing.gguf", None)
    assert loader._models == {}


def test_logits_that_are_not_finite_are_an_error_and_the_next_prompt_is_answered(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = engine.tokenize(PROMPT)
    _, text = answer(engine, tokens)
    for bad in (float("nan"), float("inf"), float("-inf")):
        row = (ctypes.c_float * engine.vocab_tokens)(*([0.0] * engine.vocab_tokens))
        row[engine.vocab_tokens // 2] = bad
        pointer = ctypes.cast(row, ctypes.POINTER(ctypes.c_float))
        with monkeypatch.context() as patched:
            patched.setattr(llama_cpp.llama_cpp, "llama_get_logits_ith", lambda *_, pointer=pointer: pointer)
            with pytest.raises(ModelOutputError, match="not finite"):
                answer(engine, tokens)
    assert answer(engine, tokens) == (0, text)


def test_adapter_of_nan_is_caught_by_its_logits(
    loader: LlamaLoader, tiny_base: Path, adapter: Path, tmp_path: Path
) -> None:
    """llama.cpp loads it without a word."""
    data = bytearray(adapter.read_bytes())
    data[-2_000:] = np.full(1_000, np.float16("nan")).tobytes()
    (tmp_path / "nan.gguf").write_bytes(data)
    engine = loader.load(tiny_base, tmp_path / "nan.gguf")
    with pytest.raises(ModelOutputError, match="not finite"):
        answer(engine, engine.tokenize(PROMPT))
    engine.close()


def test_text_of_any_kind_is_tokenized(engine: LlamaEngine) -> None:
    for text in ("", "\0", "\ud800", "東京" * 100, "<|user|>" * 50, "a" * 3_000):
        assert len(engine.tokenize(text)) <= len(text.encode("utf-8", "replace")) + 1


@pytest.mark.parametrize("piece", [" ", "a", "東", "<|assistant|>"])
def test_text_too_long_for_any_tokens_is_refused_untokenized(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch, piece: str
) -> None:
    """What would take seconds is refused by its length; what the longest token could still fit is tokenized."""
    longest = len("<|assistant|>")
    most = (engine.context_tokens - 1) * longest // len(piece.encode())
    assert engine.tokenize(piece * most)
    monkeypatch.setattr(llama_cpp.llama_cpp, "llama_tokenize", None)
    with pytest.raises(ContextLengthError, match="256"):
        engine.tokenize(piece * (most + 1))
    with pytest.raises(ContextLengthError, match="256"):
        engine.tokenize_chat((ChatMessage("user", piece * (most + 1)),))


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.5, top_p=0.9, seed=1, frequency_penalty=1)])
def test_answer_by_codes_is_the_text_of_the_likeliest_one(engine: LlamaEngine, sampling: Sampling) -> None:
    tokens = engine.tokenize(PROMPT)
    coded = replace(sampling, choices=DESKS.choices, codes=DESKS.codes)
    prefill(engine, tokens)
    found = probabilities(engine, DESKS.codes)
    assert sum(found) == pytest.approx(1)
    (token,) = decode(engine, coded, 5)
    assert token.may_end
    assert token.piece.decode() in DESKS.choices
    if sampling is GREEDY:
        assert token.piece.decode() == DESKS.choices[int(np.argmax(found))]
    assert answer(engine, tokens) == (0, answer(engine, tokens)[1]), "and any text again without them"


def test_probabilities_of_logits_that_are_far_apart_stay_finite(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefill(engine, engine.tokenize(PROMPT))
    row = (ctypes.c_float * engine.vocab_tokens)(*([0.0] * engine.vocab_tokens))
    row[65], row[66], row[67] = 3e38, -3e37, 3e38
    pointer = ctypes.cast(row, ctypes.POINTER(ctypes.c_float))
    monkeypatch.setattr(llama_cpp.llama_cpp, "llama_get_logits_ith", lambda *_: pointer)
    assert probabilities(engine, DESKS.codes) == [0.5, 0.0, 0.5]
