"""Formats jobs and stacks as tables and lines for people."""

import shlex
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text
from seedance.jobs.job import Job, State
from seedance.rest.views import ListedVideo

from local import aws
from local.stack import Stack

_MEASURE = Console(width=10_000)
"""A screen that is wide enough for any table."""


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    whole = round(seconds)
    for size, unit, smaller_size, smaller in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller_size} {smaller}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"


def moment(unix: float, *, exact: bool = False) -> str:
    """A time for people: this machine's time, with its zone. ``exact``: to the millisecond."""
    local = datetime.fromtimestamp(unix, UTC).astimezone()
    told = local.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds" if exact else "seconds")
    return f"{told} {local.tzname()}"


def iso(unix: float) -> str:
    """A time for machines: ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds")


_NOT_OURS = ("parameters", "metadata")
"""Fields of a record whose names are the provider's or the caller's."""


def facts(found: Job, scale: float, link: str | None) -> dict[str, Any]:
    """A job for machines: its record, with times in ISO 8601, its timings, and the lasting link to its video.

    ``scale``: Target.time_scale.
    """
    record = found.to_record()
    if found.turn_at is not None:
        record["turn_at"] = found.turn_at * scale
    entered = {state: iso(when) for state, when in found.entered.items()}
    told = {name: value if name in _NOT_OURS else _with_times(name, value) for name, value in record.items()}
    return {**told, "entered": entered, "timings": found.timings(), "link": link}


def _with_times(name: str, value: Any) -> Any:
    """A value of a record, with the Unix times in it in ISO 8601. A time's name is ``at``, or ends like one."""
    if isinstance(value, dict):
        return {each: _with_times(each, one) for each, one in value.items()}
    if isinstance(value, list):
        return [_with_times(name, one) for one in value]
    is_time = name == "at" or name.endswith(("_at", "_until"))
    return iso(value) if is_time and isinstance(value, int | float) else value


def money(usd: float | None) -> str:
    """An amount in USD, or a dash for None."""
    return "-" if usd is None else f"${usd:.2f}"


def jobs(found: Sequence[ListedVideo], width: int) -> Table | Text:
    """Jobs, one per line, or one per two lines if they don't fit into the screen's width. Nothing is cut.

    ``Reason``: the code that says why a job is HELD or has no video.
    """
    rows = [_row(job) for job in found]
    table = grid("Job", "State", "Created", "Cost", "Model", "Name", "Reason", right=("Cost",))
    for row in rows:
        table.add_row(*map(Text, row))
    if _MEASURE.measure(table).maximum <= width:
        return table
    lines = [
        f"{job_id}  {state:<10}  {cost:>6}  {created}\n    {'  '.join(filter(None, others))}"
        for job_id, state, created, cost, *others in rows
    ]
    return Text("\n".join(lines), overflow="fold")


def _row(job: ListedVideo) -> tuple[str, ...]:
    name = "" if job["name"] == job["job_id"] else job["name"]  # a job from the API
    age = f"{duration(time.time() - datetime.fromisoformat(job['created_at']).timestamp())} ago"
    reason = job["error"]["code"] if job["error"] else ""
    return job["job_id"], job["state"].value, age, money(job["cost_usd"]), job["model"], name, reason


def grid(*names: str, right: Collection[str] = (), whole: Collection[str] = ()) -> Table:
    """A table without lines. On a narrow screen its cells are folded, never cut, and those of ``whole`` not even that.

    ``right``: the columns of numbers.
    """
    table = Table(box=None, pad_edge=False)
    for name in names:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(name, justify=justify, no_wrap=name in whole, overflow="fold")
    return table


def lines(facts: Mapping[str, str | None]) -> str:
    """Names and values side by side. Values are never cut, because people copy them."""
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items() if value)


def job(found: Job, scale: float, link: str | None = None) -> str:
    """The details of one job. ``link``: the lasting link to its video."""
    ended = found.entered.get(found.state.value) if found.state.terminal else None
    elapsed = (ended or time.time()) - found.created_at
    facts = {
        "Job": found.job_id,
        "State": found.state.value,
        "Reason": f"{found.error['message']} ({found.error['code']})" if found.error else None,
        "Model": f"{found.model} ({found.transport})",
        "Source": f"{found.source}, {found.name}",
        "Image": f"s3://{found.image['bucket']}/{found.image['key']}" if found.image else None,
        **{name.replace("_", " ").capitalize(): str(value) for name, value in found.parameters.items()},
        "Metadata": ", ".join(f"{name}={value}" for name, value in found.metadata.items()),
        "Notes": " ".join(found.notes),
        "Created": moment(found.created_at),
        "Time": f"{duration(elapsed)} of about {duration(found.expected_seconds * scale)}",
        "Request": found.request_id,
        "Earlier": ", ".join(found.earlier_request_ids),
        "Cost": money(found.cost_usd) if found.cost_usd is not None else None,
        "Link": found.result_url if found.state is State.HELD else None,
        "Response": f"{len(found.answer):,} characters were kept: `seedance status {found.job_id} --json`"
        if found.answer
        else None,
        "Video": f"s3://{found.video['bucket']}/{found.video['key']}" if found.video else None,
        "Manifest": f"s3://{found.video['bucket']}/{found.video['manifest_key']}"
        if found.video and "manifest_key" in found.video
        else None,
        "Watch": link,
    }
    return lines(facts)


def stack(up: Stack) -> str:
    """A local stack's outputs."""
    speed = "" if up.time_scale == 1 else f", time scale {up.time_scale:g}"
    provider = f"{up.provider} at {up.sandbox_url}" if up.sandbox_url else up.provider
    changed = ", ".join(f"{name}={value}" for name, value in up.parameters.items())
    return lines({**up.outputs, "API key": up.api_key, "Provider": provider + speed, "Parameters": changed})


def exports(up: Stack, environ: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The variables that point AWS clients and API calls at a local stack, and those that must not be set."""
    ours = {**aws.exports(up.access), "API_URL": up.outputs["ApiUrl"], "API_KEY": up.api_key}
    # These would override the variables above, or be sent with the wrong key.
    foreign = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"]
    foreign += sorted(name for name in environ if name.startswith("AWS_ENDPOINT_URL_"))
    return ours, foreign


def shell(exported: Mapping[str, str], foreign: Iterable[str]) -> list[str]:
    """Both as shell commands."""
    commands = [f"export {name}={shlex.quote(value)}" for name, value in exported.items()]
    return [*commands, f"unset {' '.join(foreign)}"]


def number(count: int, thing: str) -> str:
    """A count with its noun, such as "3 videos"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
