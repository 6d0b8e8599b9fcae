"""Hostile questions to the repair function: each gets an answer, and none buys or changes anything."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from hostile_values import TEXTS, WRONG_TYPES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from invoking import as_from_lambda
from seedance import repair as repair_module
from seedance.errors import Unavailable
from seedance.jobs.job import Job, State
from seedance.provider.payloads import HistoryRow, ProviderStatus
from seedance.repair import Repair
from seedance.upkeep.questions import QUESTIONS

pytestmark = pytest.mark.hostile(kind="input", risk=("5xx", "paid twice", "lost"))

Make = Callable[..., Job]
GOOD: dict[str, dict[str, Any]] = {
    "history": {"model": "seedance-pro", "since": 0.0, "until": 1.0, "page": 1},
    "requests of": {"job_id": "up-1"},
    "adopt": {"job_id": "up-1", "request_id": "req-1"},
    "retry": {"job_id": "up-1", "pay": False, "max_usd": 0.3},
    "resolve": {"job_id": "up-1", "adopt": None, "link": None, "resubmit": False, "give_up": False},
    "cancel": {"job_id": "up-1"},
    "unowned": {"model": "seedance-pro", "since": 0.0},
    "take over": {"model": "seedance-pro", "request_id": "req-1"},
    "go on": {},
    "pause": {"reason": "why"},
    "resume": {"since": 0.0},
    "release": {"since": 0.0, "room_usd": 1.0},
    "redrive": {"since": 0.0},
    "index": {"step": 1, "since": 0.0},
    "restart": {"batch_id": "batch-" + "0" * 32},
    "examine": {"what": "request", "request_id": "req-1"},
}
FIELDS = [(ask, name) for ask, fields in GOOD.items() for name in fields]


class Silent:
    """A provider whose history is empty, and that must not be asked to make anything."""

    def history_pages(self, *_: Any) -> Iterator[list[Any]]:
        return iter(())

    def history(self, *_: Any) -> list[Any]:
        return []

    def request_rows(self, *_: Any) -> list[Any]:
        return []

    def request_row(self, _: str) -> None:
        raise Unavailable("nothing is there")

    def responses(self, _: str) -> None:
        raise Unavailable("nothing is there")


@pytest.fixture
def ask(world: Any, repair: Repair, make_job: Make, request: pytest.FixtureRequest) -> Callable[[Any], dict[str, Any]]:
    """Asks the function a question, about a job whose submit may have been lost, and checks that the job stays so."""
    job = world.put(make_job(State.UNCERTAIN, submitted_at=1.0))
    none: Any = SimpleNamespace(receive_message=lambda **_: {})
    silent = replace(repair, provider=Silent(), holding=replace(repair.holding, sqs=none))  # type: ignore[arg-type]
    tried = count(1)

    def asked(question: Any) -> dict[str, Any]:
        request.node.user_properties[:] = [("tried", next(tried))]  # as record_property would, for the report
        answer = as_from_lambda(silent.answer(question))
        assert isinstance(answer, dict)
        if "error" in answer:
            assert 0 < len(answer["error"]) <= 2000
        assert replace(world.job(), month=None) == job  # a good question after all may add it to the index by_month
        assert world.postponed() == world.executions() == []
        return answer

    return asked


def test_the_good_questions_are_all_questions() -> None:
    assert {ask: set(fields) for ask, fields in GOOD.items()} == {ask: set(fields) for ask, fields in QUESTIONS.items()}


@pytest.mark.parametrize(("which", "name"), FIELDS)
def test_a_value_of_another_type_is_refused_by_its_name(ask: Any, which: str, name: str) -> None:
    needed, good = QUESTIONS[which][name].needed, GOOD[which][name]
    right = str if good is None else type(good)
    for value in WRONG_TYPES.values():
        if isinstance(value, right):
            continue  # for instance True, which is how a person decides
        answer = ask({"ask": which, **GOOD[which], name: value})
        if value is None and not needed:
            assert "missing" not in answer.get("error", "")
        elif right is not float or isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1e11:
            assert answer["error"].startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("which", "name"), [(which, name) for which, name in FIELDS if isinstance(GOOD[which][name], str)]
)
def test_a_hostile_text_does_nothing(ask: Any, which: str, name: str) -> None:
    for text in TEXTS.values():
        ask({"ask": which, **GOOD[which], name: text})


@pytest.mark.parametrize("name", ["adopt", "link"])
def test_a_hostile_decision_does_nothing(ask: Any, name: str) -> None:
    for text in TEXTS.values():
        assert ask({"ask": "resolve", **GOOD["resolve"], name: text})["error"]


@pytest.mark.parametrize("name", ["pay", "resubmit", "give_up"])
@pytest.mark.parametrize("value", ["yes", "true", "no", 1, 1.0, [True], {"a": 1}, "1"])
def test_only_true_buys(ask: Any, name: str, value: Any) -> None:
    which = "retry" if name == "pay" else "resolve"
    assert f"{name}: must be true or false" in ask({"ask": which, **GOOD[which], name: value})["error"]


def test_an_unknown_question_is_refused(ask: Any) -> None:
    for kind in (*WRONG_TYPES.values(), *TEXTS.values()):
        assert "does not support" in ask({"ask": kind, "job_id": "up-1", "pay": True})["error"]
    assert "does not support" in ask({"job_id": "up-1", "pay": True})["error"]


def test_a_question_that_is_no_object_is_refused(ask: Any) -> None:
    for value in WRONG_TYPES.values():
        assert ask(value)["error"]


@pytest.mark.parametrize("which", GOOD)
def test_a_field_that_the_release_does_not_know_is_refused(ask: Any, which: str) -> None:
    for name in ("self", "question", "force", "", "\ud800", "x" * 5000, "Pay", "pay "):
        assert "does not support" in ask({"ask": which, **GOOD[which], name: True})["error"]


@pytest.mark.parametrize(
    "which", [which for which, fields in QUESTIONS.items() if any(one.needed for one in fields.values())]
)
def test_a_missing_field_is_named(ask: Any, which: str) -> None:
    for name, field in QUESTIONS[which].items():
        if field.needed:
            rest = {other: value for other, value in GOOD[which].items() if other != name}
            assert f"{name}: is missing" in ask({"ask": which, **rest})["error"]


@given(
    st.dictionaries(
        st.sampled_from([name for _, name in FIELDS]), st.sampled_from([*WRONG_TYPES.values(), *TEXTS.values()])
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_retry_without_true_buys_nothing(ask: Any, fields: dict[str, Any]) -> None:
    for which in ("retry", "adopt", "resolve"):
        fields = {name: value for name, value in fields.items() if value is not True}
        ask({"ask": which, "job_id": "up-1", "pay": False, **fields})


def test_more_requests_than_fit_into_a_response_are_cut_with_a_word(
    world: Any, repair: Repair, make_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.put(make_job(State.UNCERTAIN, submitted_at=1.0))
    rows = [
        HistoryRow(f"req-{number}", ProviderStatus.COMPLETED, None, None, "👟" * 900, None, None, job.model)
        for number in range(200)
    ]
    many = Silent()
    many.history = lambda *_: rows  # type: ignore[method-assign]
    monkeypatch.setattr(repair_module, "named_job", lambda _: "up-1")
    loud = replace(repair, provider=many)  # type: ignore[arg-type]
    for question in ({"ask": "requests of", "job_id": "up-1"}, {"ask": "unowned", "model": job.model, "since": 0.0}):
        answer = as_from_lambda(loud.answer(question))  # type: ignore[arg-type]
        shown = answer.get("rows") or answer["requests"]
        assert 50 < len(shown) < 200
        assert answer["incomplete"].startswith(f"only the first {len(shown)} of 200 requests")
        assert len(json.dumps(answer)) < 1_100_000


@pytest.mark.parametrize("given", ["{}", "[]", "null", '"x"', '{"bucket": 5, "key": "a"}', '{"bucket": "b"}'])
def test_a_batch_that_was_started_with_invalid_input_is_not_started_again(
    world: Any, repair: Repair, given: str
) -> None:
    machines, batch = world.aws["stepfunctions"], "batch-" + "0" * 32
    began = machines.start_execution(stateMachineArn=world.arns.batch_machine, name=batch, input=given)
    machines.stop_execution(executionArn=began["executionArn"])
    assert "names no manifest" in repair.answer({"ask": "restart", "batch_id": batch})["error"]
