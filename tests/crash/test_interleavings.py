"""Random histories, the same ones every time; `make reliability` plays more and longer ones."""

from collections.abc import Callable

import pytest
from interleavings import play
from stage import Stage
from test_matrix_finds_mistakes import close_without_booking, resubmit_what_is_uncertain

HISTORIES, STEPS = 5, 25


@pytest.mark.hostile(kind="clock")
@pytest.mark.timeout(600)  # 20 s on an idle core; being slow on a busy one is no violation
def test_no_history_breaks_the_rules_about_money(
    servers: Stage, record_property: Callable[[str, object], None]
) -> None:
    play(servers, HISTORIES, STEPS)
    record_property("tried", HISTORIES)  # each with a clock of the provider that drifts


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (resubmit_what_is_uncertain, "2 POSTs were accepted for one job"),
        (close_without_booking, "the ledger of"),
    ],
)
def test_the_histories_find_a_mistake(
    servers: Stage, monkeypatch: pytest.MonkeyPatch, mistake: Callable[[pytest.MonkeyPatch], None], words: str
) -> None:
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match=words):
        play(servers, 18 * HISTORIES, STEPS)  # it ends at the first history that finds it
