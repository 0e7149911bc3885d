"""Who is computed next, by the rule alone: times are given."""

from edge_runtime.serving.step_scheduler import BEGINNING_TOKENS, StepScheduler

HALF = BEGINNING_TOKENS // 2


def run(turns: StepScheduler[str], left: dict[str, int], answers: bool, batches: int) -> list[str]:
    """What is computed, when a token takes a hundredth of a second; `-` is a token of each answer."""
    done = []
    for _ in range(batches):
        prompt = turns.next(answers)
        if prompt is None:
            if not answers:
                break
            turns.answers_took(0.1)
            done.append("-")
            continue
        left[prompt] -= HALF
        turns.prompt_took(prompt, HALF, HALF / 100)
        if left[prompt] <= 0:
            turns.leave(prompt)
        done.append(prompt)
    return done


def test_short_prompt_waits_for_one_chunk_at_most() -> None:
    turns: StepScheduler[str] = StepScheduler()
    left = {"long": 10 * HALF, "short": HALF, "other": 3 * HALF}
    turns.join("long")
    assert run(turns, left, False, 3) == ["long"] * 3
    turns.join("short")
    turns.join("other")
    assert run(turns, left, False, 100) == [
        *["short", "long", "other", "other", "long", "other"],
        *["long"] * 5,
    ]
    assert turns.next(False) is None


def test_beginning_of_a_prompt_is_computed_at_one_go() -> None:
    """A prompt of two chunks reaches its first token without a chunk of the long one in between."""
    turns: StepScheduler[str] = StepScheduler()
    left = {"long": 20 * HALF, "a": 2 * HALF, "b": 2 * HALF}
    turns.join("long")
    run(turns, left, False, 3)
    turns.join("a")
    turns.join("b")
    assert run(turns, left, False, 6) == ["a", "a", "long", "b", "b", "long"]


def test_endless_short_prompts_leave_a_long_one_half_of_the_turns() -> None:
    turns: StepScheduler[str] = StepScheduler()
    left = {"long": 10_000}
    turns.join("long")
    done = []
    for number in range(100):
        left[f"{number}"] = HALF
        turns.join(f"{number}")
        done += run(turns, left, False, 1)
    short = [each for each in done if each != "long"]
    assert short == [f"{number}" for number in range(len(short))]
    assert len(short) in (49, 50)


def test_answers_have_half_of_the_time_beside_a_long_prompt() -> None:
    turns: StepScheduler[str] = StepScheduler()
    turns.join("long")
    done = run(turns, {"long": 10_000}, True, 200)
    assert done[:2] == ["long", "long"], "the beginning waits for nothing"
    later = done[2:]
    assert 0.4 < later.count("-") * 0.1 / (later.count("long") * HALF / 100) < 1.4
    assert "long long" not in " ".join(later)


def test_beginning_of_a_prompt_waits_for_no_answers() -> None:
    """Nor for what a long prompt owes them, which goes on waiting."""
    turns: StepScheduler[str] = StepScheduler()
    turns.join("long")
    left = {"long": 10_000, "short": 2 * HALF}
    done = run(turns, left, True, 4)
    assert done == ["long", "long", "long", "-"]
    turns.join("short")
    assert run(turns, left, True, 2) == ["short", "short"]
    assert run(turns, left, True, 4) == ["-", "-", "-", "long"]


def test_without_answers_nothing_is_owed() -> None:
    turns: StepScheduler[str] = StepScheduler()
    turns.join("long")
    left = {"long": 10_000}
    run(turns, left, True, 3)
    assert turns.next(True) is None
    assert run(turns, left, False, 3) == ["long"] * 3


def test_prompt_that_is_not_wanted_any_more_has_no_turn() -> None:
    turns: StepScheduler[str] = StepScheduler()
    for prompt in "ab":
        turns.join(prompt)
    turns.leave("a")
    turns.leave("a")
    turns.prompt_took("a", HALF, 1.0)
    assert run(turns, {"b": HALF}, True, 2) == ["b", "-"]


def test_endless_short_prompts_leave_answers_half_of_the_time() -> None:
    turns: StepScheduler[int] = StepScheduler()
    prompts = answers = 0.0
    for number in range(1000):
        turns.join(number)
        if turns.next(True) is None:
            turns.answers_took(0.1)
            answers += 0.1
            turns.leave(number)
        else:
            turns.prompt_took(number, HALF, 0.3)
            prompts += 0.3
            turns.leave(number)
    assert 0.4 < answers / (answers + prompts) < 0.6
