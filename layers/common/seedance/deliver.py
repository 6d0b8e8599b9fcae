"""Deliver: send a webhook to the receiver, once; a failed one comes back later, and in the end is a dead letter."""

import json
from dataclasses import dataclass
from functools import cache

from seedance.aws import clients
from seedance.aws.job_table import job_table
from seedance.clock import CLOCK
from seedance.config import deliver_settings
from seedance.errors import ConfigurationError
from seedance.events.endpoint import NO_MORE, Endpoint, Gone, SigningKeys
from seedance.events.hooks import HookQueue, Webhook, wait
from seedance.observability import logger


@dataclass(frozen=True)
class Deliver:
    """The use case and its dependencies."""

    endpoint: Endpoint
    gone: Gone
    queue: HookQueue

    def message(self, body: str, receipt: str, attempt: int) -> bool:
        """Make one attempt at a message of the queue. Returns whether it is done with; if not, it comes back later.

        Raises ConfigurationError if the signing key can't be read or used, which triggers an alarm. The message comes
        back as late as after a failed attempt, so that there are hours to correct it.

        A receiver that answers 410 Gone wants no more webhooks. Then all of them come back at once and without an
        attempt, until SQS makes them dead letters; ``seedance redrive`` puts them back.
        """
        webhook: Webhook = json.loads(body)
        facts: dict[str, object] = {"webhook": webhook["id"], "attempt": attempt}
        if self.gone(self.endpoint.url):
            logger().warning("not sent, because the receiver is gone", extra=facts)
            self.queue.postpone(receipt, 0)
            return False
        try:
            answer = self.endpoint.post(webhook)
        except ConfigurationError:
            self.queue.postpone(receipt, wait(attempt, webhook["id"]))
            raise
        if answer.delivered:
            logger().info("delivered", extra=facts)
            return True
        if answer.status == NO_MORE:
            logger().error("the receiver is gone: nothing is sent to it until `seedance redrive`", extra=facts)
            self.gone.mark(self.endpoint.url)
        seconds = 0.0 if answer.status == NO_MORE else wait(attempt, webhook["id"], answer.retry_after)
        logger().warning("not delivered", extra={**facts, "reason": answer.why, "again_in_seconds": seconds})
        self.queue.postpone(receipt, seconds)
        return False


@cache
def deliver() -> Deliver:
    """The use case, configured for this stack. Raises ConfigurationError."""
    stack = deliver_settings()
    if stack.webhook_url is None:
        raise ConfigurationError("there is a webhook, but WebhookUrl is empty")
    keys = SigningKeys(stack.webhook_secret, clients.secrets(), CLOCK)
    endpoint = Endpoint(stack.webhook_url, keys, CLOCK)
    return Deliver(endpoint, Gone(job_table()), HookQueue(stack.webhook_queue, clients.sqs()))
