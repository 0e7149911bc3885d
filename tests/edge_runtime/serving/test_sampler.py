"""What is drawn where a grammar refuses most: each token as probable as it is among those that fit."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema_rs
import numpy as np
import pytest

from edge_runtime.serving import sampler as module
from edge_runtime.serving.engine import Sampling
from edge_runtime.serving.llama import LlamaLoader
from edge_runtime.serving.llama_model import LlamaModel
from edge_runtime.serving.sampler import Grammars, TokenSampler, likelihoods
from loragen.contract.json_schema import canonical_schema

SCHEMA = '{"enum":[1,2,3]}'
DRAWS = 800


@pytest.fixture
def model(tiny_base: Path) -> Iterator[LlamaModel]:
    LlamaLoader(64, 1)
    made = LlamaModel(tiny_base, 0)
    yield made
    made.close()


@pytest.mark.parametrize("seed", [-1, 0, 7, 2**32 - 2, 2**32 - 1, 2**63 - 1, -(2**63)])
def test_any_seed_draws_the_same_again(model: LlamaModel, seed: int) -> None:
    """llama.cpp draws a seed itself where it is given one of them."""
    logits = np.zeros(model.vocab_size, np.float32)
    draws = []
    for _ in range(2):
        made = TokenSampler(model, Sampling(seed=seed), Grammars(model))
        draws.append([made.choose(logits) for _ in range(8)])
        made.close()
    assert draws[0] == draws[1]


@pytest.mark.parametrize(
    "fitting",
    [
        (4.0, 3.0, 2.0),  # likely: mostly found by the first draw
        (1.0, 0.0, 0.5),  # among the others
        (-9.0, -9.5, -10.0),  # of no likelihood
        (2.5, -9.0, -9.0),  # one of them likely
    ],
)
@pytest.mark.parametrize("many", [0, 4_096])  # what is left is drawn and asked about one by one, or all at once
def test_what_fits_is_drawn_as_its_probabilities_are_to_each_other(
    model: LlamaModel, monkeypatch: pytest.MonkeyPatch, fitting: tuple[float, ...], many: int
) -> None:
    monkeypatch.setattr(module, "_MANY", many)
    tokens = [model.tokens_of[digit][0] for digit in (b"1", b"2", b"3")]
    logits = np.random.default_rng(7).standard_normal(model.vocab_size).astype(np.float32)
    for digit in (b"1", b"2", b"3"):
        logits[model.tokens_of[digit]] = -50  # there may be more than one token of a digit
    logits[tokens] = fitting
    grammars = Grammars(model)
    made = TokenSampler(model, Sampling(schema=SCHEMA, seed=1), grammars)
    counts = Counter(made.choose(logits) for _ in range(DRAWS))
    made.close()
    grammars.close()
    assert set(counts) <= set(tokens)
    weights = np.exp(np.array(fitting))
    for token, share in zip(tokens, weights / weights.sum(), strict=True):
        spread = 4 * np.sqrt(DRAWS * share * (1 - share)) + 1
        assert abs(counts[token] - DRAWS * share) <= spread


def test_top_k_cuts_before_the_first_draw_and_then_among_what_fits(model: LlamaModel) -> None:
    """A token that fits is drawn by the first draw, or by a second one among the two likeliest that fit."""
    one, two, three = (model.tokens_of[digit][0] for digit in (b"1", b"2", b"3"))
    logits = np.full(model.vocab_size, -50, np.float32)
    logits[[model.tokens_of[b"x"][0], one, two, three]] = (2.0, 1.5, 1.0, 0.5)
    grammars = Grammars(model)
    made = TokenSampler(model, Sampling(schema=SCHEMA, seed=3, top_k=2), grammars)
    counts = Counter(made.choose(logits) for _ in range(DRAWS))
    made.close()
    grammars.close()
    assert set(counts) == {one, two}
    first = 1 / (1 + np.exp(2.0 - 1.5))
    share = first + (1 - first) / (1 + np.exp(1.0 - 1.5))
    assert abs(counts[one] - DRAWS * share) <= 4 * np.sqrt(DRAWS * share * (1 - share))


def test_seed_repeats_what_is_drawn(model: LlamaModel) -> None:
    logits = np.random.default_rng(7).standard_normal(model.vocab_size).astype(np.float32)
    grammars = Grammars(model)
    drawn = []
    for seed in (5, 5, 6):
        made = TokenSampler(model, Sampling(schema='{"type":"string"}', seed=seed), grammars)
        drawn.append([])
        for _ in range(12):
            drawn[-1].append(made.choose(logits))
            made.accept(drawn[-1][-1])
        made.close()
    grammars.close()
    assert drawn[0] == drawn[1] != drawn[2]


def test_first_byte_rules_out_nothing_that_fits(model: LlamaModel) -> None:
    """At each place of an object with a text of all kinds of characters, within characters too."""
    grammars = Grammars(model)
    schema = '{"additionalProperties":false,"properties":{"é":{"type":"string"}},"required":["é"],"type":"object"}'
    made = TokenSampler(model, Sampling(temperature=0, schema=schema), grammars)
    tokens = np.arange(model.vocab_size, dtype=np.int32)
    ruled_out = 0
    for byte in '{"é": "a\\n東"}'.encode():
        may_fit, fits = made._may_fit(tokens), made._fits(tokens)
        assert not (fits & ~may_fit).any()
        ruled_out += int((~may_fit).sum())
        made.accept(int(model.tokens_of_bytes[byte]))
    assert made._may_fit(np.array(model.ends)).all()
    assert made._fits(model.ends).all()
    made.close()
    grammars.close()
    assert ruled_out > model.vocab_size


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(temperature=0), 7),
        (Sampling(temperature=1, top_p=0), 7),
        (Sampling(temperature=0, logit_bias=((9, 2.0),)), 9),
        (Sampling(temperature=0, presence_penalty=1.5), 9),
        (Sampling(temperature=0, frequency_penalty=1.5), 9),
        (Sampling(temperature=0, repeat_penalty=1.9), 9),
        (Sampling(temperature=0, avoided=(7,)), 9),
    ],
)
def test_greedy_takes_the_likeliest_after_biases_and_penalties(
    model: LlamaModel, sampling: Sampling, expected: int
) -> None:
    """Of two that are as likely, the first."""
    logits = np.zeros(model.vocab_size, np.float32)
    logits[[7, 9, 11]] = 3.0, 2.0, 2.0
    grammars = Grammars(model)
    made = TokenSampler(model, sampling, grammars)
    made.accept(7)
    assert (made.choose(logits), made.choose(logits, [9, 11])) == (expected, 9)
    made.close()
    grammars.close()


def test_likeliest_that_fits_is_taken_greedily(model: LlamaModel) -> None:
    one, two, three = (model.tokens_of[digit][0] for digit in (b"1", b"2", b"3"))
    grammars = Grammars(model)
    made = TokenSampler(model, Sampling(temperature=0, schema=SCHEMA), grammars)
    rng = np.random.default_rng(7)
    for low in (0.0, -30.0):
        logits = rng.standard_normal(model.vocab_size).astype(np.float32)
        logits[[one, two, three]] = low, low + 1, low + 0.5
        assert made.choose(logits) == two
    made.close()
    grammars.close()


def test_what_a_grammar_lets_through_is_utf8(model: LlamaModel) -> None:
    """Half of a character is followed by its other half, whatever the model would like better."""
    grammars = Grammars(model)
    made = TokenSampler(model, Sampling(temperature=0, schema='{"type":"string"}'), grammars)
    quote, half = (model.tokens_of[piece][0] for piece in (b'"', b"\xc3"))
    logits = np.zeros(model.vocab_size, np.float32)
    for wanted in (quote, half, half):  # the last cannot stand behind itself
        logits[:] = 0
        logits[wanted] = 9
        token = made.choose(logits)
        made.accept(token)
    assert model.piece(token)[0] & 0xC0 == 0x80
    made.close()
    grammars.close()


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.7, seed=3), Sampling(temperature=0.7, seed=3, min_p=1e-9)])
def test_tokens_are_drawn_as_often_as_they_are_probable(model: LlamaModel, sampling: Sampling) -> None:
    """By llama.cpp's samplers, and without them where nothing is cut."""
    logits = np.full(model.vocab_size, -np.inf, np.float32)
    logits[[5, 9, 11]] = np.log([0.5, 0.3, 0.2])
    made = TokenSampler(model, sampling, Grammars(model))
    drawn = Counter(made.choose(logits) for _ in range(DRAWS))
    made.close()
    shares = np.array([0.5, 0.3, 0.2]) ** (1 / 0.7)
    for token, share in zip((5, 9, 11), shares / shares.sum(), strict=True):
        assert abs(drawn.pop(token) / DRAWS - share) < 0.06
    assert not drawn


@pytest.mark.parametrize("count", [0, 1, 20])
def test_likeliest_tokens_come_in_their_order(model: LlamaModel, count: int) -> None:
    logits = np.random.default_rng(5).standard_normal(model.vocab_size).astype(np.float32)
    token, *likeliest = likelihoods(model, logits, 7, count)
    exact = logits.astype(np.float64) - np.log(np.exp(logits.astype(np.float64)).sum())
    assert token.logprob == pytest.approx(exact[7])
    assert [each.logprob for each in likeliest] == pytest.approx(sorted(exact, reverse=True)[:count])
    assert [each.piece for each in likeliest] == [
        model.piece(int(at), markup=True) for at in np.argsort(-exact)[:count]
    ]


FORM = '{"properties":{"city_of_departure":{"type":"string"},"class":{"enum":["eco","eco plus"]}},"required":["city_of_departure","class"],"type":"object"}'  # noqa: E501


@pytest.fixture
def writer(model: LlamaModel) -> Iterator[Callable[[str, str], TokenSampler]]:
    """Samplers of a schema that stand behind a text."""
    grammars, made = Grammars(model), list[TokenSampler]()

    def behind(schema: str, text: str) -> TokenSampler:
        made.append(TokenSampler(model, Sampling(temperature=0.0, schema=schema), grammars))
        for token in model.tokenize(text, add_special=False, markup=False):
            made[-1].accept(token)
        return made[-1]

    yield behind
    for each in made:
        each.close()
    grammars.close()


@pytest.mark.parametrize(
    ("written", "forced"),
    [
        ("", '{"city_of_departure": "'),
        ('{"city', '_of_departure": "'),
        (
            '{"city_of_departure": "Oslo",',
            ' "class": "',
        ),  # and not the beginning of a word, which has tokens of its own
        ('{"city_of_departure": "Os', ""),
        ('{"city_of_departure": "Oslo", "class": "eco', ""),
    ],
)
def test_text_that_a_grammar_leaves_no_choice_about_is_forced(
    model: LlamaModel, writer: Callable[[str, str], TokenSampler], written: str, forced: str
) -> None:
    """In the tokens of the whole text, whatever follows: a sign may be one token with what stands behind it."""
    tokens = writer(FORM, written).forced()
    assert len(forced) - 4 <= len(b"".join(map(model.piece, tokens))) <= len(forced)
    for follower in ("a", "7", "#1", " b", '"'):
        whole = model.tokenize(forced + follower, add_special=False, markup=False)
        assert tokens == whole[: len(tokens)]


def test_text_is_forced_to_its_end_where_nothing_may_follow(
    model: LlamaModel, writer: Callable[[str, str], TokenSampler]
) -> None:
    written = '{"city_of_departure": "Oslo", "class": "eco plus'
    sampler = writer(FORM, written)
    tokens = sampler.forced()
    assert b"".join(map(model.piece, tokens)) == b'"}'
    for token in tokens:
        sampler.accept(token)
    assert sampler.may_end
    assert sampler.must_end()
    assert sampler.forced() == []


@pytest.mark.parametrize("name", ["Größe_in_Metern", "東京の駅", 'say "hi"', "x" * 390])
def test_forced_text_may_be_any_text(model: LlamaModel, writer: Callable[[str, str], TokenSampler], name: str) -> None:
    schema = canonical_schema({"type": "object", "properties": {name: {"type": "null"}}, "required": [name]})
    sampler, written = writer(schema, ""), b""
    while tokens := sampler.forced():
        for token in tokens:
            sampler.accept(token)
            written += model.piece(token)
    assert json.loads(written) == {name: None}
    assert sampler.may_end


def test_nothing_is_forced_without_a_grammar_or_without_tokens_for_all_bytes(
    model: LlamaModel, writer: Callable[[str, str], TokenSampler]
) -> None:
    free = TokenSampler(model, Sampling(temperature=0.0), Grammars(model))
    assert free.forced() == []
    free.close()
    sampler = writer(FORM, "")
    assert sampler.forced()
    model.known_bytes = model.known_bytes[:0]
    assert sampler.forced() == []


@pytest.mark.parametrize("values", [["é1", "è2"], ["éé"], ["x東", "x京"], ["東京"]])
def test_nothing_is_forced_within_a_character(
    model: LlamaModel, writer: Callable[[str, str], TokenSampler], values: list[str]
) -> None:
    """One that is written byte by byte: llama.cpp ends the process where a grammar is told of what it does not take."""
    sampler, text = writer(canonical_schema({"enum": values}), ""), f'"{values[-1]}"'.encode()
    written = b""
    while written != text:
        for token in sampler.forced():
            sampler.accept(token)
            written += model.piece(token)
        assert text.startswith(written)
        if written != text:
            sampler.accept(int(model.tokens_of_bytes[text[len(written)]]))
            written += text[len(written) : len(written) + 1]
    assert sampler.may_end


LIKES_A = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
LIKES_LISTS = {"type": "array", "items": {"type": "integer"}}


def written(model: LlamaModel, schema: object, liked: str, most: int, *, ends_in_time: bool = True) -> tuple[str, bool]:
    """What a model writes that likes one thing after the other, for ever, and whether it was cut."""
    grammars = Grammars(model)
    sampling = Sampling(schema=canonical_schema(schema), temperature=0, ends_in_time=ends_in_time)
    made, text = TokenSampler(model, sampling, grammars), b""
    for step in range(most):
        logits = np.zeros(model.vocab_size, np.float32)
        logits[model.tokens_of[liked[step % len(liked)].encode()][0]] = 9
        token = made.choose(logits, left=most - step)
        if token in model.ends:
            break
        made.accept(token)
        text += model.piece(token)
        if made.must_end():
            break
    made.close()
    grammars.close()
    return text.decode(), made.was_cut


@pytest.mark.parametrize("most", [12, 30, 31, 60])
@pytest.mark.parametrize(("schema", "liked"), [(LIKES_A, "abcdefghijklmnopqrs"), (LIKES_LISTS, "[1, 2, 3, 4, ")])
def test_json_is_closed_before_its_greatest_length(model: LlamaModel, schema: object, liked: str, most: int) -> None:
    text, was_cut = written(model, schema, liked, most)
    assert was_cut
    jsonschema_rs.validator_for(schema).validate(json.loads(text))
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        json.loads(written(model, schema, liked, most, ends_in_time=False)[0])


def test_text_that_repeats_itself_is_closed_and_is_whole(model: LlamaModel) -> None:
    text, was_cut = written(model, LIKES_A, "ab", 400)
    assert not was_cut
    assert 96 <= len(json.loads(text)["x"]) < 120


def test_object_of_any_names_has_each_of_them_once(model: LlamaModel) -> None:
    for most in range(40, 60):
        text, _ = written(model, {"type": "object"}, '{"a": 1, ' + '"a": 1, ' * 9, most)
        pairs = json.loads(text, object_pairs_hook=lambda pairs: pairs)
        assert len(pairs) > 2
        assert len({name for name, _ in pairs}) == len(pairs)


def test_json_that_just_fits_is_not_cut(model: LlamaModel) -> None:
    liked = '{"x": "abc"}'
    assert written(model, LIKES_A, liked, len(liked)) == (liked, False)
