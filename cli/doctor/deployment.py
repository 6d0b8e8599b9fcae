"""The deployed stack that the checks look at. What several of them need is read once, whichever comes first."""

import json
from collections.abc import Callable
from dataclasses import fields
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from cli.asking import ANSWER_SECONDS
from cli.target import CommandError, Target

if TYPE_CHECKING:
    from seedance.upkeep.examining import Examined

NEEDS = ("cloudformation:DescribeStacks", "cloudformation:ListStackResources")
"""The permissions that every check needs: to find the stack, its parameters and its resources."""

Value = TypeVar("Value")

_CREATING = Lock()


class EarlierRelease(CommandError):
    """The stack runs a release that can't answer the doctor."""


class _Shared(Target):
    """A target for several threads: its clients are created one at a time, and once.

    While one for a local stack is created, the environment is another one.
    """

    def client(self, service: Any, patience: float | None = None) -> Any:
        """As in Target."""
        with _CREATING:
            if (service, patience) not in self._created:
                self._created[service, patience] = super().client(service, patience)
            return self._created[service, patience]

    @cached_property
    def _created(self) -> dict[tuple[str, float | None], Any]:
        return {}


class Deployment:
    """A stack, with what the checks share. Safe for threads. Its methods raise what the calls raise."""

    def __init__(self, target: Target, name: str) -> None:
        self.target = _Shared(**{field.name: getattr(target, field.name) for field in fields(target)})
        self.name = name
        self._locks: dict[str, Lock] = {}
        self._known: dict[str, Any] = {}
        self._lock = Lock()

    @property
    def emulated(self) -> bool:
        """Whether it runs on an emulator."""
        return self.target.local is not None

    def client(self, service: str) -> Any:
        """A client for the AWS that the stack runs on."""
        return self.target.client(service)

    def once(self, name: str, read: Callable[[], Value]) -> Value:
        """The value of ``read``, which is called once for all checks. An error is not remembered."""
        with self._lock:
            lock = self._locks.setdefault(name, Lock())
        with lock:
            if name not in self._known:
                self._known[name] = read()
            value: Value = self._known[name]
            return value

    @property
    def status(self) -> str:
        """The stack's status in CloudFormation."""
        return str(self._described["StackStatus"])

    @property
    def region(self) -> str:
        """The region it is in."""
        return str(self.client("cloudformation").meta.region_name)

    @property
    def parameters(self) -> dict[str, str]:
        """The template's parameters, with their values."""
        given = self._described.get("Parameters", [])
        return {one["ParameterKey"]: one.get("ParameterValue", "") for one in given}

    @property
    def parameters_seen(self) -> dict[str, str]:
        """The parameters, if a check has read them, else none. Never waits."""
        return self.parameters if "stack" in self._known else {}

    @property
    def _described(self) -> dict[str, Any]:
        def read() -> dict[str, Any]:
            return dict(self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0])

        return self.once("stack", read)

    def physical(self, logical: str) -> str:
        """The physical id of a resource of the template. Raises CommandError if the stack has none of this name."""
        if logical not in self._resources:
            raise CommandError(f"the stack has no {logical}; it is of another release")
        return self._resources[logical][1]

    def expect(self, logical: str) -> None:
        """Raises EarlierRelease if the stack has no resource of this name."""
        if logical not in self._resources:
            raise EarlierRelease(f"the stack has no {logical}")

    def of_type(self, kind: str) -> dict[str, str]:
        """The physical ids of the resources of a type, such as ``AWS::Lambda::Function``, by logical id."""
        return {name: physical for name, (found, physical) in sorted(self._resources.items()) if found == kind}

    @property
    def _resources(self) -> dict[str, tuple[str, str]]:
        def read() -> dict[str, tuple[str, str]]:
            pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
            return {
                one["LogicalResourceId"]: (one["ResourceType"], one.get("PhysicalResourceId", ""))
                for page in pages
                for one in page["StackResourceSummaries"]
            }

        return self.once("resources", read)

    def ask(self, **question: object) -> dict[str, Any]:
        """Ask the repair function (seedance.repair). Not with cli.asking, which shows its own progress.

        Raises CommandError if it refuses, EarlierRelease if it does not know the question.
        """
        answer = self.target.client("lambda", ANSWER_SECONDS).invoke(
            FunctionName=self.target.output("RepairFunctionName"), Payload=json.dumps(question).encode()
        )
        said: dict[str, Any] = json.loads(answer["Payload"].read())
        if answer.get("FunctionError"):
            raise CommandError(f"the repair function crashed: {said.get('errorMessage', said)}")
        if "does not support the request" in said.get("error", ""):
            raise EarlierRelease(said["error"])
        if "error" in said:
            raise CommandError(said["error"])
        return said

    def examine(self, what: str, request_id: str = "") -> "Examined":
        """What a function of the stack sees (seedance.upkeep.examining).

        Raises EarlierRelease if the stack runs a release without this, CommandError if it can't tell.
        """

        def read() -> "Examined":
            given = {"request_id": request_id} if request_id else {}
            examined: Examined = self.ask(ask="examine", what=what, **given)["examined"]
            return examined

        return self.once(f"examined {what} {request_id}", read)

    @property
    def link(self) -> str:
        """A signed link to a video that does not exist, from a function. Raises like ``examine``."""
        said = self.examine("link")
        if "link" not in said:
            raise CommandError(f"no link could be signed: {said['trouble']['message']}")
        return said["link"]

    def queue(self, url: str) -> dict[str, str]:
        """A queue's attributes."""

        def read() -> dict[str, str]:
            said = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
            return dict(said["Attributes"])

        return self.once(f"queue {url}", read)

    @property
    def queues(self) -> dict[str, dict[str, str]]:
        """The attributes of the queues, by what they are for. An earlier release has only the first three."""
        urls = {
            "the submit queue": self.target.output("SubmitQueueUrl"),
            "the dead-letter queue": self.target.output("DeadLetterQueueUrl"),
            "reconcile's dead-letter queue": self.physical("ReconcileDeadLetterQueue"),
        }
        added = {
            "announce's dead-letter queue": "AnnounceDeadLetterQueue",
            "the queue of webhooks": "WebhookQueue",
            "the webhooks' dead-letter queue": "WebhookDeadLetterQueue",
        }
        urls |= {name: self.physical(logical) for name, logical in added.items() if logical in self._resources}
        return {name: self.queue(url) for name, url in urls.items()}

    @property
    def buckets(self) -> dict[str, str]:
        """The names of the two buckets, by what they are for."""
        return {
            "the upload bucket": self.target.output("UploadBucketName"),
            "the video bucket": self.target.output("VideoBucketName"),
        }
