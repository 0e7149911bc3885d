"""The same line of the log comes back only after a while, and tells how many were left out."""

from loragen.web.log_limit import LogLimit


def test_lines_of_one_kind_are_left_out_for_a_while_and_counted() -> None:
    now = [100.0]
    limit = LogLimit(10.0, lambda: now[0])
    assert [limit.pass_line("full") for _ in range(4)] == [0, None, None, None]
    now[0] += 9.9
    assert limit.pass_line("full") is None
    now[0] += 0.2
    assert [limit.pass_line("full") for _ in range(2)] == [4, None]


def test_lines_of_another_kind_are_reported_at_once() -> None:
    limit = LogLimit(10.0, lambda: 100.0)
    assert [limit.pass_line(kind) for kind in ("full", "away", "full", "away")] == [0, 0, None, None]
