"""Formats jobs and stacks as tables and lines for people."""

import shlex
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text
from seedance.jobs.job import Job, State
from seedance.notices.job_message import iso

from local import aws
from local.stack import Stack


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


def moment(unix: float) -> str:
    """A time in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix, UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")


def money(usd: float | None) -> str:
    """An amount in USD, or a dash for None."""
    return "-" if usd is None else f"${usd:.2f}"


def jobs(found: list[Job], now: float) -> Table:
    """A table of jobs, one per line."""
    table = Table(box=None, pad_edge=False)
    # People need the id for the next command, so on a narrow screen the other columns are cut.
    table.add_column("Job", no_wrap=True, min_width=max(len(job.job_id) for job in found))
    table.add_column("State", no_wrap=True, min_width=len("PROCESSING"))
    table.add_column("Created", no_wrap=True, min_width=len("59 min 59 s ago"))
    table.add_column("Cost", no_wrap=True, min_width=len("$0.77"), justify="right")
    table.add_column("Model", no_wrap=True)
    table.add_column("Name", no_wrap=True)
    for job in found:
        name = "" if job.name == job.job_id else job.name  # a job from the API
        begun = f"{duration(now - job.created_at)} ago"
        table.add_row(job.job_id, job.state.value, begun, money(job.cost_usd), job.model, Text(name))
    return table


def lines(facts: Mapping[str, str | None]) -> str:
    """Names and values side by side. Values are never cut, because people copy them."""
    width = max(map(len, facts))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in facts.items() if value)


def job(found: Job, scale: float) -> str:
    """The details of one job."""
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
        "Notes": " ".join(found.notes),
        "Created": iso(found.created_at),
        "Time": f"{duration(elapsed)} of about {duration(found.expected_seconds * scale)}",
        "Request": found.request_id,
        "Earlier": ", ".join(found.earlier_request_ids),
        "Cost": money(found.cost_usd) if found.cost_usd is not None else None,
        "Link": found.result_url if found.state is State.HELD else None,
        "Response": f"{len(found.answer):,} characters were kept: `seedance status {found.job_id} --json`"
        if found.answer
        else None,
        "Video": f"s3://{found.video['bucket']}/{found.video['key']}" if found.video else None,
    }
    return lines(facts)


def stack(up: Stack) -> str:
    """A local stack's outputs."""
    speed = "" if up.time_scale == 1 else f", time scale {up.time_scale:g}"
    provider = f"{up.provider} at {up.sandbox_url}" if up.sandbox_url else up.provider
    changed = ", ".join(f"{name}={value}" for name, value in up.parameters.items())
    return lines({**up.outputs, "API key": up.api_key, "Provider": provider + speed, "Parameters": changed})


def exports(up: Stack, environ: Iterable[str]) -> list[str]:
    """Shell commands that point AWS clients and API calls at a local stack."""
    ours = {**aws.exports(up.access), "API_URL": up.outputs["ApiUrl"], "API_KEY": up.api_key}
    # These would override the variables above, or be sent with the wrong key.
    foreign = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"]
    foreign += sorted(name for name in environ if name.startswith("AWS_ENDPOINT_URL_"))
    return [*(f"export {name}={shlex.quote(value)}" for name, value in ours.items()), f"unset {' '.join(foreign)}"]


def number(count: int, thing: str) -> str:
    """A count with its noun, such as "3 videos"."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
