"""The list of jobs: newest first, across months, with filters, in pages, and never more reads than allowed."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from clocks import NOW
from seedance.aws.attributes import written_item
from seedance.jobs import by_month
from seedance.jobs.budget import month_of
from seedance.jobs.by_month import MOST_MONTHS, MOST_READ, ByMonth, Filters, Position
from seedance.jobs.job import Job, State

Make = Callable[..., Job]
TABLE = "jobs-of-tests"
DAY = 24 * 3600.0


@pytest.fixture
def index(world: Any) -> ByMonth:
    return ByMonth(world.table)


@pytest.fixture
def put(world: Any, make_job: Make) -> Callable[..., Job]:
    """Put a job into the table that was created so many seconds ago."""
    numbers = itertools.count()

    def add(ago: float, state: State = State.COMPLETED, **changes: Any) -> Job:
        created = round(NOW - ago, 3)
        values = {"job_id": f"up-{next(numbers)}", "created_at": created, "updated_at": created, **changes}
        return world.put(make_job(state, month=month_of(created), **values))  # type: ignore[no-any-return]

    return add


def ids(page: by_month.Page) -> list[str]:
    return [job["job_id"] for job in page.jobs]


def walk(index: ByMonth, wanted: Filters, limit: int) -> list[list[str]]:
    """All pages of a list."""
    pages, position = [], None
    while True:
        page = index.page(wanted, limit, position)
        pages.append(ids(page))
        if (position := page.next) is None:
            return pages


def test_a_new_job_is_listed_with_what_the_index_has(world: Any, index: ByMonth, make_job: Make) -> None:
    about = {"batch": "batch-1", "row": 3, "metadata": {"sku": "S-1"}, "error": {"code": "WAITS", "message": "later"}}
    job = make_job(State.RECEIVED, created_at=0.0, **about)
    assert world.store.create(job)
    (listed,) = index.page(Filters(), 10).jobs
    assert listed == {
        "job_id": "up-1",
        "state": State.RECEIVED,
        "model": "seedance-1.0-pro-fast",
        "source": "upload",
        "name": "shoe",
        "metadata": {"sku": "S-1"},
        "created_at": world.clock.now,
        "updated_at": world.clock.now,
        "batch": "batch-1",
        "row": 3,
        "cost_usd": None,
        "error": {"code": "WAITS", "message": "later"},
    }


def test_jobs_are_listed_newest_first_across_months(index: ByMonth, put: Any) -> None:
    jobs = [put(ago * DAY) for ago in (0, 1, 25, 40, 100, 101, 399)]
    assert len({job.month for job in jobs}) > 3
    assert walk(index, Filters(), 100) == [[job.job_id for job in jobs]]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7])
def test_pages_follow_one_another_without_gaps_and_repeats(index: ByMonth, put: Any, limit: int) -> None:
    jobs = [put(ago * DAY) for ago in (0, 0, 0, 30, 30, 61)]  # several at the same moment
    pages = walk(index, Filters(), limit)
    assert all(len(page) <= limit for page in pages)
    found = list(itertools.chain(*pages))
    assert len(found) == len(set(found)) == len(jobs)
    created = {job.job_id: job.created_at for job in jobs}
    assert [created[one] for one in found] == sorted(created.values(), reverse=True)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filters(states=(State.HELD,)), ["up-1"]),
        (Filters(states=(State.HELD, State.FAILED)), ["up-1", "up-2"]),
        (Filters(model="seedance-pro"), ["up-2"]),
        (Filters(source="batch"), ["up-3"]),
        (Filters(batch="batch-1"), ["up-3"]),
        (Filters(batch="batch"), []),
        (Filters(name_prefix="re"), ["up-4"]),
        (Filters(updated_since=NOW + 5), ["up-0"]),
        (Filters(updated_since=NOW + 5.001), []),
        (Filters(states=(State.HELD,), model="seedance-pro"), []),
    ],
    ids=repr,
)
def test_filters(index: ByMonth, put: Any, wanted: Filters, found: list[str]) -> None:
    put(1, updated_at=NOW + 5)
    put(2, State.HELD)
    put(3, State.FAILED, model="seedance-pro")
    put(4, source="batch", batch="batch-1", row=1)
    put(5, name="red-shoe")
    assert walk(index, wanted, 10) == [found]


@pytest.mark.parametrize(
    ("since", "before", "found"),
    [
        (None, None, [0, 1, 2]),
        (NOW - 2, None, [0, 1, 2]),
        (NOW - 1.999, None, [0, 1]),
        (None, NOW, [1, 2]),
        (None, NOW + 0.001, [0, 1, 2]),
        (NOW - 1, NOW - 0.5, [1]),
        (NOW - 0.4, NOW - 0.3, []),
        (NOW - 0.0004, NOW - 0.0003, []),
        (0.0, NOW, [1, 2]),
        (0.0, 5.0, []),
    ],
)
def test_the_time_of_creation_is_a_range(
    *, index: ByMonth, put: Any, since: float | None, before: float | None, found: list[int]
) -> None:
    for ago in (0, 1, 2):
        put(ago)
    pages = walk(index, Filters(created_since=since, created_before=before), 10)
    assert list(itertools.chain(*pages)) == [f"up-{number}" for number in found]


def test_a_call_stops_at_its_bound_and_the_next_continues_there(world: Any, index: ByMonth, put: Any) -> None:
    for number in range(MOST_READ + 150):
        put(number, job_id=f"up-{number:05}")
    wanted = put(MOST_READ + 500, State.HELD, job_id="up-held")
    read: list[int] = []
    world.table.client = CountingClient(world.aws["dynamodb"], read)
    first = index.page(Filters(states=(State.HELD,)), 10)
    assert (first.jobs, sum(read)) == ([], MOST_READ)
    assert first.next is not None
    second = index.page(Filters(states=(State.HELD,)), 10, first.next)
    assert ids(second) == [wanted.job_id]
    assert second.next is None


class CountingClient:
    """A client of DynamoDB that reports how many items each query reads."""

    def __init__(self, client: Any, read: list[int]) -> None:
        self._client = client
        self._read = read

    def query(self, **params: Any) -> Any:
        answer = self._client.query(**params)
        self._read.append(answer["ScannedCount"])
        return answer


def test_without_other_filters_only_the_page_is_read(world: Any, index: ByMonth, put: Any) -> None:
    for number in range(30):
        put(number)
    world.table.client = CountingClient(world.aws["dynamodb"], read := [])
    assert len(index.page(Filters(created_since=NOW - 100), 10).jobs) == 10
    assert read == [10]


def test_empty_months_are_walked_a_bounded_number_per_call(world: Any, put: Any) -> None:
    index = ByMonth(world.table, kept_days=3650)
    oldest = put(3600 * DAY)
    world.calls.clear()
    pages = walk(index, Filters(), 10)
    assert pages[0] == []
    assert list(itertools.chain(*pages)) == [oldest.job_id]
    assert len(pages) < 10
    assert len(world.called("Query")) <= MOST_MONTHS * len(pages)


def test_an_empty_table_is_one_empty_page(world: Any, index: ByMonth) -> None:
    days = ((2025, 11, 20), (2027, 1, 1), (2027, 3, 31), (2028, 2, 29))
    for moment in (datetime(*day, tzinfo=UTC) for day in days):
        world.clock.now = moment.timestamp()
        assert walk(index, Filters(), 20) == [[]]


def test_months_are_those_of_utc_whatever_their_length() -> None:
    moments = [datetime(2026, month, day, 23, 59, 59, tzinfo=UTC) for month, day in ((1, 31), (2, 28), (12, 31))]
    assert [month_of(moment.timestamp()) for moment in moments] == ["2026-01", "2026-02", "2026-12"]
    assert by_month._month_before("2026-01") == "2025-12"
    assert by_month._month_before("2026-12") == "2026-11"


def test_a_job_created_by_a_clock_that_is_ahead_is_listed(world: Any, index: ByMonth, put: Any) -> None:
    world.clock.now = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    ahead = put(NOW - world.clock.now - 2)
    assert ahead.month == "2026-02"
    assert walk(index, Filters(), 10) == [[ahead.job_id]]


@pytest.mark.parametrize(
    "edited",
    [
        {"name": {"N": "5"}},
        {"state": {"S": "DREAMING"}},
        {"created_at": {"N": "100000000000000000000"}},
        {"source": {"S": ""}},
    ],
)
def test_an_edited_record_hides_no_other(world: Any, index: ByMonth, put: Any, edited: dict[str, Any]) -> None:
    good, bad = put(1), put(2)
    item = {**written_item(bad.to_record()), **edited}
    world.aws["dynamodb"].put_item(TableName=TABLE, Item=item)
    assert walk(index, Filters(), 10)[0] == [good.job_id]
    assert list(itertools.chain(*walk(index, Filters(), 1))) == [good.job_id]


def test_a_position_in_another_month_continues_there(index: ByMonth, put: Any) -> None:
    job = put(100 * DAY)
    assert ids(index.page(Filters(), 10, Position(str(job.month)))) == [job.job_id]
    assert ids(index.page(Filters(), 10, Position(month_of(NOW - 140 * DAY)))) == []
