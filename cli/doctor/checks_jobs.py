"""Checks of jobs that wait, and of the queues and the schedule that move them."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from seedance.errors import BadRecord
from seedance.jobs.job import Job, State
from seedance.jobs.requests import BATCH_PREFIX, UPLOAD_PREFIX

from cli import show
from cli.doctor.checks_events import is_running, mapping_states, messages
from cli.doctor.deployment import Deployment
from cli.doctor.policies import allows_service, read
from cli.doctor.results import Result, counted, failed, found, ok

LOST_SECONDS = 1800.0
"""How long a job may be UNCERTAIN: reconcile searches the history for 15 minutes, in rounds of five."""

_MOST = 1000
_READ = 200
_NAMED = 3

_BY_CODE = {
    "OVER_BUDGET": "OVER_BUDGET: they continue the next UTC day; with a higher DailyBudgetUsd, `seedance release`.",
    "SUBMITS_PAUSED": "SUBMITS_PAUSED: `seedance resume` releases them.",
    "SUBMIT_LOST": "SUBMIT_LOST: `seedance explain JOB`, then `seedance resolve JOB`.",
    "RESULT_UNCLEAR": "RESULT_UNCLEAR: paid videos, kept for seven days: `seedance status JOB` says what to do.",
}


def held(of: Deployment) -> Result:
    """No job is HELD: none waits for money or for a person."""
    listed = of.target.jobs.oldest(State.HELD, limit=_MOST)
    if not listed:
        return ok("none")
    codes, named = _reasons(of, listed)
    remedies = [_BY_CODE[code] for code in codes if code in _BY_CODE]
    return failed(f"{_many(listed)}: {counted(codes)}", *named, remedy=" ".join(remedies) or None)


def uncertain(of: Deployment) -> Result:
    """No job has been UNCERTAIN for longer than reconcile needs to find its request in the provider's history."""
    listed = of.target.jobs.oldest(State.UNCERTAIN, limit=_MOST)
    if not listed:
        return ok("none")
    codes, named = _reasons(of, listed)
    old = [job for job in listed if time.time() - job.updated_at > LOST_SECONDS * of.target.time_scale]
    said = f"{_many(listed)}: {counted(codes)}"
    if not old:
        return ok(f"{said}; reconcile is searching the provider's history", *named)
    return failed(f"{said}; {len(old)} for over {show.duration(LOST_SECONDS * of.target.time_scale)}", *named)


def _many(listed: list[Job]) -> str:
    return f"at least {_MOST} jobs" if len(listed) == _MOST else show.number(len(listed), "job")


def _reasons(of: Deployment, listed: list[Job]) -> tuple[Counter[str], list[str]]:
    """The jobs' error codes, which the index does not have, and the oldest jobs of each code by name."""
    codes: Counter[str] = Counter()
    named: dict[str, list[str]] = {}
    for job in listed[:_READ]:
        try:
            record = of.target.jobs.get(job.job_id)
        except BadRecord:
            code = "RECORD_UNREADABLE"
        else:
            if record is None or record.state is not job.state:
                continue  # its state has changed since
            code = record.code or "no code"
        codes[code] += 1
        named.setdefault(code, []).append(job.job_id)
    if len(listed) > _READ:
        codes["not looked at"] = len(listed) - _READ
    return codes, [f"{code}: {', '.join(ids[:_NAMED])}" for code, ids in sorted(named.items())]


def uploads(of: Deployment) -> Result:
    """Uploads reach the queue: the bucket announces both prefixes, and the queue's policy lets S3 send."""
    bucket = of.target.output("UploadBucketName")
    told = of.client("s3").get_bucket_notification_configuration(Bucket=bucket)
    queue = of.queues["the submit queue"]
    arn, wrong = queue["QueueArn"], []
    announced = {
        prefix for one in told.get("QueueConfigurations", []) if one["QueueArn"] == arn for prefix in _prefixes(one)
    }
    for prefix in (UPLOAD_PREFIX, BATCH_PREFIX):
        if prefix not in announced:
            wrong.append(f"the upload bucket does not announce objects under {prefix}")
    if not allows_service(read(queue.get("Policy")), "s3.amazonaws.com", "sqs:SendMessage", arn):
        wrong.append("the policy of the submit queue does not let S3 send messages")
    return found(wrong, f"objects under {UPLOAD_PREFIX} and {BATCH_PREFIX} are announced")


def _prefixes(one: dict[str, Any]) -> Iterator[str]:
    if not any(event in ("s3:ObjectCreated:*", "s3:ObjectCreated:Put") for event in one["Events"]):
        return
    for rule in one.get("Filter", {}).get("Key", {}).get("FilterRules", []):
        if rule["Name"].lower() == "prefix":
            yield rule["Value"]


def submit_queue(of: Deployment) -> Result:
    """The submit function takes messages from its queue. Also shown: how many wait."""
    queue = of.queues["the submit queue"]
    states = mapping_states(of, "SubmitFunction", queue["QueueArn"])
    waiting = (
        f"{queue['ApproximateNumberOfMessages']} waiting, {queue['ApproximateNumberOfMessagesDelayed']} delayed, "
        f"{queue['ApproximateNumberOfMessagesNotVisible']} in progress"
    )
    if not is_running(states):
        return failed(f"nothing takes messages from the queue ({' '.join(states) or 'no trigger'}); {waiting}")
    return ok(waiting)


def dead_letters(of: Deployment) -> Result:
    """No message failed five times, no round of reconcile was dropped, and the submit queue has a dead-letter queue."""
    queue, dead = of.queues["the submit queue"], of.queues["the dead-letter queue"]
    wrong = []
    if failures := messages(dead):
        wrong.append(f"{show.number(failures, 'message')} failed five times")
    if dropped := messages(of.queues["reconcile's dead-letter queue"]):
        wrong.append(f"{show.number(dropped, 'round')} of reconcile dropped in the last hour")
    if json.loads(queue.get("RedrivePolicy", "{}")).get("deadLetterTargetArn") != dead["QueueArn"]:
        wrong.append("the submit queue does not move messages that fail to the dead-letter queue")
    return found(wrong, "none")


def reconcile(of: Deployment) -> Result:
    """The schedule of reconcile is enabled."""
    rule = of.client("events").describe_rule(Name=of.physical("ReconcileFunctionEveryFiveMinutes"))
    said = f"{rule['ScheduleExpression']}, {rule['State'].lower()}"
    return ok(said) if rule["State"] == "ENABLED" else failed(said)
