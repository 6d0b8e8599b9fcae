"""Every state that a job reached is announced: on the event bus, and as a webhook if the stack sends webhooks."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from standardwebhooks import Webhook
from table_stream import changes_of_state
from world import WEBHOOK_KEY, World

SCHEMA = Path(__file__).parents[2] / "docs/video-state-changed.schema.json"


@cache
def _schema() -> Any:
    return Draft202012Validator(json.loads(SCHEMA.read_text()), format_checker=FormatChecker())


def always(world: World) -> Iterator[str]:
    """What must hold at any moment for what was announced."""
    yield from dict.fromkeys(world.source.findings)
    reached = changes_of_state(world.adversary.stream)
    for event in world.announced():
        detail = event["detail"]
        known = world.known_events.setdefault(detail["id"], detail)
        if known is detail:  # it was not looked at before
            yield from (f"an event that its schema forbids: {error.message}" for error in _schema().iter_errors(detail))
            if (event["source"], event["detail-type"]) != ("seedance.pipeline", "Video State Changed"):
                yield f"an event from {event['source']}: {event['detail-type']}"
            if detail["state"] not in reached.get(detail["job_id"], []):
                yield f"an event about {detail['state']}, which the job never reached"
        elif known != detail:
            yield f"two events with the id {detail['id']}"


def in_the_end(world: World) -> Iterator[str]:
    """What must hold once nothing changes any more."""
    told: dict[str, list[dict[str, Any]]] = {}
    for detail in {event["detail"]["id"]: event["detail"] for event in world.announced()}.values():
        told.setdefault(detail["job_id"], []).append(detail)
    for job_id, states in changes_of_state(world.adversary.stream).items():
        details = told.get(job_id, [])
        if (said := [detail["state"] for detail in details]) != states:
            yield f"reached {states}, and announced {said}"
        elif [detail["previous_state"] for detail in details] != [None, *states[:-1]]:
            yield f"the events of {states} name other previous states"
        if (order := [detail["sequence"] for detail in details]) != sorted(order):
            yield f"the sequence of {states} is not that of the events"
    if world.receiver:
        yield from _webhooks(world)


def _webhooks(world: World) -> Iterator[str]:
    events = {event["detail"]["id"]: event["detail"] for event in world.announced()}
    accepted = {}
    for one in world.receiver.accepted if world.receiver else []:
        accepted[one.headers["webhook-id"]] = json.loads(one.body)["data"]
        yield from _signature(one.headers, one.body)
    dead = {json.loads(body)["id"] for body in world.undelivered()}
    if missing := set(events) - set(accepted) - dead:
        yield f"{len(missing)} of {len(events)} webhooks were lost"
    if any(events.get(webhook) != data for webhook, data in accepted.items()):
        yield "a webhook says something else than the event"


def _signature(headers: dict[str, str], body: str) -> Iterator[str]:
    """Recomputed by the scheme's library. Its ``verify`` would compare the time with the machine's clock."""
    moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    expected = Webhook(WEBHOOK_KEY).sign(headers["webhook-id"], moment, body)
    if headers["webhook-signature"] != expected:
        yield f"the signature of {headers['webhook-id']} is wrong"
