"""Checks of what programs receive: events on EventBridge, and webhooks."""

from seedance.aws.job_table import JobTable
from seedance.config import Hook
from seedance.events.endpoint import Gone

from cli import show
from cli.doctor.deployment import Deployment
from cli.doctor.results import Result, failed, found, ok

RUNNING = ("Enabled", "Enabling", "Creating", "Updating")
"""The states of an event source mapping that works, or will in a minute (Lambda API reference)."""


def messages(attributes: dict[str, str]) -> int:
    """How many messages a queue has, including those in flight."""
    return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])


def mapping_states(of: Deployment, function: str, source: str | None = None) -> list[str]:
    """The states of what passes records or messages on to a function. ``source``: only from there."""
    given = {"EventSourceArn": source} if source else {}
    said = of.client("lambda").list_event_source_mappings(FunctionName=of.physical(function), **given)
    return [one["State"] for one in said["EventSourceMappings"]]


def is_running(states: list[str]) -> bool:
    """Whether one of these mappings works."""
    return any(state in RUNNING for state in states)


def events(of: Deployment) -> Result:
    """Changes of state are announced: the table's stream is read, and no change was given up."""
    of.expect("AnnounceFunction")
    states, wrong = mapping_states(of, "AnnounceFunction"), []
    if not is_running(states):
        wrong.append(f"nothing passes the table's stream to announce ({' '.join(states) or 'no trigger'})")
    if letters := messages(of.queues["announce's dead-letter queue"]):
        wrong.append(f"{show.number(letters, 'group')} of changes could not be announced for six hours")
    return found(wrong, f"to the event bus {of.parameters.get('EventBusName', 'default')}")


def webhooks(of: Deployment) -> Result:
    """Webhooks are delivered: their queue is read, none is a dead letter, and the receiver did not answer 410 Gone."""
    of.expect("DeliverFunction")
    queue, letters = of.queues["the queue of webhooks"], messages(of.queues["the webhooks' dead-letter queue"])
    states, url, wrong = mapping_states(of, "DeliverFunction"), of.parameters.get("WebhookUrl", ""), []
    gone = Gone(JobTable(of.target.output("JobTableName"), of.client("dynamodb")))(Hook(url))
    if letters:
        wrong.append(f"{show.number(letters, 'webhook')} could not be delivered")
    if not url:
        return found(wrong, "off: WebhookUrl is empty")
    if gone:
        wrong.append("the receiver answered 410 Gone, so nothing is sent to it")
    if not is_running(states):
        wrong.append(f"nothing takes webhooks from their queue ({' '.join(states) or 'no trigger'})")
    again = queue["ApproximateNumberOfMessagesNotVisible"]
    said = f"{queue['ApproximateNumberOfMessages']} waiting, {again} being sent or to be sent again"
    return failed(wrong[0], *wrong[1:], said) if wrong else ok(said)
