"""GET /videos: the query's parameters and the cursor, valid and invalid."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import pytest
from clocks import NOW
from described import check, faults
from hypothesis import given
from hypothesis import strategies as st
from seedance import bounds
from seedance.aws import gateway
from seedance.aws.checks import LATEST
from seedance.errors import InvalidRequest
from seedance.jobs.budget import month_of
from seedance.jobs.by_month import ByMonth, Filters, Page, Position
from seedance.jobs.job import Job, State
from seedance.rest.answers import answer
from seedance.rest.listing import PARAMETERS, Listing

Make = Callable[..., Job]
ASKED = datetime(2026, 11, 20, 9, 30, tzinfo=UTC).timestamp()


class Recorded:
    """An index that remembers what it was asked."""

    def __init__(self, answer: Page | None = None) -> None:
        self.asked: list[tuple[Filters, int, Position | None]] = []
        self.answer = answer or Page([], None)

    def page(self, wanted: Filters, limit: int, position: Position | None = None) -> Page:
        self.asked.append((wanted, limit, position))
        return self.answer


def asked(**given: str) -> tuple[Filters, int, Position | None]:
    index: Any = Recorded()
    Listing(index).page(given)
    return index.asked[0]  # type: ignore[no-any-return]


def refused(**given: str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        asked(**given)
    return caught.value


def test_without_parameters_the_newest_twenty_are_asked_for() -> None:
    assert asked() == (Filters(), 20, None)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"state": "HELD"}, Filters(states=(State.HELD,))),
        ({"state": "HELD,UNCERTAIN, HELD"}, Filters(states=(State.HELD, State.UNCERTAIN))),
        ({"model": "seedance-pro", "source": "api"}, Filters(model="seedance-pro", source="api")),
        ({"batch": "batch-1", "name_prefix": "re d"}, Filters(batch="batch-1", name_prefix="re d")),
        ({"created_since": "2026-11-20T09:30:00Z"}, Filters(created_since=ASKED)),
        ({"created_since": "2026-11-20T10:30:00+01:00"}, Filters(created_since=ASKED)),
        ({"created_since": "2026-11-20T10:30:00 01:00"}, Filters(created_since=ASKED)),  # an unescaped +
        ({"created_before": "2026-11-20T09:30"}, Filters(created_before=ASKED)),
        ({"updated_since": "2026-11-20"}, Filters(updated_since=ASKED - 9.5 * 3600)),
    ],
    ids=repr,
)
def test_filters_are_read(given: dict[str, str], wanted: Filters) -> None:
    assert asked(**given) == (wanted, 20, None)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("state", "DONE", "must be one or more of RECEIVED, SUBMITTING"),
        ("state", "", "must be one or more of"),
        ("state", "held", "must be one or more of"),
        ("source", "mail", "must be upload, api, batch or adopted"),
        ("model", "", "must be text of 1 to 1024 characters"),
        ("name_prefix", "x" * 1025, "must be text of 1 to 1024 characters"),
        ("name_prefix", "\ud800", "must be UTF-8"),
        ("created_since", "yesterday", "must be a time in ISO 8601"),
        ("created_since", "1969-12-31", "must be a time in ISO 8601"),
        ("created_before", "9999-01-01", "must be a time in ISO 8601"),
        ("updated_since", "0001-01-01T00:00:00+14:00", "must be a time in ISO 8601"),
        ("updated_since", "9" * 5000, "must be a time in ISO 8601"),
        ("limit", "0", "must be a whole number from 1 to 100"),
        ("limit", "101", "must be a whole number from 1 to 100"),
        ("limit", "\uff15", "must be a whole number from 1 to 100"),
        ("limit", "1.5", "must be a whole number from 1 to 100"),
        ("cursor", "", "must be next_cursor of the page before"),
        ("cursor", "x" * 10_000, "must be next_cursor of the page before"),
        ("stat", "HELD", "is not a parameter of this call (did you mean state?)"),
        ("x" * 5000, "", "is not a parameter of this call; allowed: state, model"),
    ],
)
def test_an_invalid_parameter_is_named(name: str, value: str, says: str) -> None:
    error = refused(**{name: value})
    assert error.field == bounds.shown(name)
    assert says in error.message
    assert len(error.message) < 400


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    assert refused(created_since="2026-11-20", created_before="2026-11-20").field == "created_before"


def test_what_is_allowed_is_also_listed_for_machines() -> None:
    assert refused(state="DONE").allowed == list(State)
    assert refused(source="mail").allowed == ("upload", "api", "batch", "adopted")
    assert refused(stat="x").allowed == list(PARAMETERS)


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="state: is given twice"):
        gateway.query({"multiValueQueryStringParameters": {"state": ["HELD", "FAILED"]}})
    event = {"queryStringParameters": {"state": "HELD"}, "multiValueQueryStringParameters": {"state": ["HELD"]}}
    assert gateway.query(event) == {"state": "HELD"}
    assert gateway.query({"queryStringParameters": {"state": "HELD"}}) == {"state": "HELD"}
    assert gateway.query({"queryStringParameters": None, "multiValueQueryStringParameters": None}) == {}


@pytest.mark.hostile(kind="input")
@pytest.mark.parametrize("odd", [5, "state", ["state"], {"state": 5}, {5: "x"}, {"state": ["x", 5]}, {"state": []}])
def test_a_query_of_another_shape_counts_as_none_or_is_refused(odd: object) -> None:
    for name in ("queryStringParameters", "multiValueQueryStringParameters"):
        try:
            assert gateway.query({name: odd}) == {}
        except InvalidRequest as error:
            assert error.field == "state"


# cursor ---------------------------------------------------------------------------------------------------------------


def cursor(position: Position, **filters: str) -> str:
    index: Any = Recorded(Page([], position))
    found = Listing(index).page(filters)["next_cursor"]
    assert found is not None
    return found


@pytest.mark.parametrize(
    "position", [Position("2026-11"), Position("2026-11", "1763600000.123", "up-1"), Position("2026-11", "0", "ü-👟")]
)
def test_a_cursor_leads_to_the_position_it_was_made_for(position: Position) -> None:
    made = cursor(position, state="HELD")
    assert set(made) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")  # needs no escaping
    assert asked(state="HELD", cursor=made, limit="5") == (Filters(states=(State.HELD,)), 5, position)


def test_a_cursor_of_other_filters_is_refused() -> None:
    made = cursor(Position("2026-11"), state="HELD")
    for other in ({}, {"state": "FAILED"}, {"state": "HELD", "model": "seedance-pro"}):
        assert refused(cursor=made, **other).message.startswith("belongs to other filters")


def forged(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "key",
    [
        ("2026-13",),
        ("2026-1",),
        ("month",),
        (5,),
        ("2026-11", "5"),
        ("2026-11", "-5", "up-1"),
        ("2026-11", "NaN", "up-1"),
        ("2026-11", "1e5", "up-1"),
        ("2026-11", "5", ""),
        ("2026-11", "5", "x" * 2049),
        ("2026-11", "5", "\ud800"),
        ("2026-11", "5", "up-1", "more"),
        ("2026-11", "5", None),
        (),
    ],
    ids=repr,
)
def test_a_forged_cursor_is_refused(key: tuple[object, ...]) -> None:
    digest = json.loads(base64.b64decode(cursor(Position("2026-11")) + "=="))[0]
    assert asked(cursor=forged(digest, "2026-11", "5", "up-1"))[2] == Position("2026-11", "5", "up-1")
    assert refused(cursor=forged(digest, *key)).message == "must be next_cursor of the page before, unchanged"


def test_a_cursor_outside_the_range_is_refused() -> None:
    """DynamoDB refuses a start key that the query's condition does not allow."""
    filters = {"created_since": "2026-11-01", "created_before": "2026-12-01"}
    digest = json.loads(base64.b64decode(cursor(Position("2026-11"), **filters) + "=="))[0]
    assert refused(cursor=forged(digest, "2026-11", "5", "up-1"), **filters).field == "cursor"


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_no_cursor_is_an_error_of_ours(text: str) -> None:
    assert refused(cursor=text).field == "cursor"


@given(st.text(max_size=80))
def test_no_time_is_an_error_of_ours(text: str) -> None:
    try:
        (wanted, _, _) = asked(created_since=text)
    except InvalidRequest as error:
        assert error.field == "created_since"
    else:
        assert wanted.created_since is not None
        assert 0 <= wanted.created_since <= LATEST


# answer ---------------------------------------------------------------------------------------------------------------


def test_the_list_has_the_described_shape(world: Any, make_job: Make) -> None:
    for number, state in enumerate(State):
        error = {"code": "WAITS", "message": "m"} if state is State.RECEIVED else None
        values = {"batch": "batch-1", "row": 2, "source": "batch"} if number % 2 else {}
        created = NOW - number
        world.put(
            make_job(state, job_id=f"up-{number}", created_at=created, month=month_of(created), error=error, **values)
        )
    listing = Listing(ByMonth(world.table))
    answered = answer(HTTPStatus.OK, listing.page({"limit": "5"}))
    check("GET", "/videos", answered)
    body = json.loads(answered["body"])
    assert [video["state"] for video in body["videos"]] == list(State)[:5]
    assert body["videos"][1]["batch"] == {"batch_id": "batch-1", "row": 2}
    assert body["videos"][0]["created_at"] == "2025-11-20T00:53:20+00:00"
    rest = listing.page({"cursor": body["next_cursor"]})
    assert [video["state"] for video in rest["videos"]] == list(State)[5:]
    assert rest["next_cursor"] is None


def test_the_checker_finds_what_is_wrong() -> None:
    assert faults("VideoList", {"videos": [], "next_cursor": None}) == []
    assert faults("VideoList", {"videos": [{}], "next_cursor": None})
    assert faults("VideoList", {"videos": [], "next_cursor": None, "more": 1}) == ["more is not described"]
