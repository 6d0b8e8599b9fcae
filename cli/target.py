"""The stack that a command uses: the one on this machine, or one on AWS."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from seedance.aws.job_table import JobTable
from seedance.batches.job_states import Register
from seedance.clock import CLOCK
from seedance.errors import InvalidRequest
from seedance.jobs.by_month import ByMonth
from seedance.jobs.defaults import Defaults
from seedance.jobs.job import RECORD_KEPT_DAYS, Job
from seedance.jobs.lasting import Addresses
from seedance.jobs.store import JobStore
from seedance.jobs.switch import Switch

from cli import progress
from local import aws
from local.launch import HOME, STACK_NAME
from local.stack import Stack

DEFAULT_MODEL = "seedance-1.0-pro-fast"
"""The default of the stack parameter DefaultModel. A test compares the two."""


class CommandError(Exception):
    """A command failed. The message is a sentence for the user."""


class UsageError(CommandError):
    """The command line is wrong: a value that no stack and no time would make right. Exit code 2."""


@contextlib.contextmanager
def usage() -> Iterator[None]:
    """What is refused here is a mistake on the command line. Raises UsageError."""
    try:
        yield
    except InvalidRequest as refusal:
        raise UsageError(str(refusal)) from None


@dataclass(frozen=True)
class Target:
    """A stack's outputs and clients. ``local`` is None for a stack on AWS."""

    outputs: dict[str, str]
    local: Stack | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    """The parameters of a stack on AWS. For a local one, see ``setting``."""

    @classmethod
    def on_aws(cls, name: str) -> "Target":
        """A stack on AWS, found with the default credentials and region. Raises CommandError."""
        try:
            with progress.working(f"looking up stack {name}"):
                answer = _session().client("cloudformation").describe_stacks(StackName=name)
        except ClientError as error:
            raise CommandError(f"stack {name}: {error.response['Error']['Message']}") from error
        except BotoCoreError as error:
            raise CommandError(f"can't look up stack {name} on AWS: {error}") from error
        stack = answer["Stacks"][0]
        return cls(
            {item["OutputKey"]: item["OutputValue"] for item in stack.get("Outputs", [])},
            parameters={item["ParameterKey"]: item["ParameterValue"] for item in stack.get("Parameters", [])},
        )

    @property
    def time_scale(self) -> float:
        """Seconds on this machine per second of the provider."""
        return self.local.time_scale if self.local else 1.0

    @property
    def poll_seconds(self) -> float:
        """How often to look at a job."""
        return 0.25 if self.local else 2.0

    def client(self, service: Any, patience: float | None = None) -> Any:
        """A client for the AWS that the stack runs on.

        ``patience``: the timeout of a call in seconds. Such a call is never retried.
        """
        if self.local:
            return aws.client(self.local.access, service, patience)
        known = self.__dict__.setdefault("_clients", {})  # threads share a client, but must not create one
        if (service, patience) not in known:
            once = Config(
                read_timeout=patience, retries={"mode": "standard", "total_max_attempts": 1}, tcp_keepalive=True
            )
            known[service, patience] = _session().client(service, config=once if patience else None)
        return known[service, patience]

    @cached_property
    def jobs(self) -> JobStore:
        """The stack's jobs."""
        return JobStore(self.job_table)

    @cached_property
    def switch(self) -> Switch:
        """The switch that pauses the stack's submits."""
        return Switch(self.job_table)

    @cached_property
    def job_table(self) -> JobTable:
        """The stack's table."""
        return JobTable(self.output("JobTableName"), self.client("dynamodb"))

    @cached_property
    def by_month(self) -> ByMonth:
        """The stack's jobs, by the time of their creation."""
        return ByMonth(self.job_table, int(self.setting("RecordRetentionDays", str(RECORD_KEPT_DAYS))))

    @cached_property
    def register(self) -> Register:
        """The stack's jobs, many at a time."""
        return Register(self.job_table)

    @cached_property
    def _settings(self) -> Mapping[str, str]:
        return self.parameters or (aws.stack_parameters(self.local.access, STACK_NAME) if self.local else {})

    def setting(self, name: str, otherwise: str) -> str:
        """The value of a stack parameter; ``otherwise`` if an older stack does not have it."""
        return self._settings.get(name) or otherwise

    def link(self, job: Job) -> str | None:
        """The lasting link to the job's video; None if it has none that works."""
        if job.link_token is None or not (base := self.outputs.get("LinkUrl")):
            return None
        return Addresses(base, int(self.setting("VideoLinkDays", "0"))).of(job, CLOCK())

    @property
    def any_shape(self) -> bool:
        """Whether the stack takes images of every size and shape."""
        return self.setting("AllowUnusualImages", "no") == "yes"

    @property
    def defaults(self) -> Defaults:
        """What the stack uses for requests that leave it open."""
        model, prompt = self.setting("DefaultModel", DEFAULT_MODEL), self.setting("DefaultPrompt", "the default")
        return Defaults(model, prompt, self.setting("DefaultTransport", "v2"))

    @cached_property
    def api_key(self) -> str:
        """The API key."""
        if self.local:
            return self.local.api_key
        answer = self.client("apigateway").get_api_key(apiKey=self.output("ApiKeyId"), includeValue=True)
        return str(answer["value"])

    def output(self, name: str) -> str:
        """A stack output. Raises CommandError if the stack has no such output."""
        if name not in self.outputs:
            raise CommandError(f"the stack has no output {name}; is it a stack of this project?")
        return self.outputs[name]


def _session() -> Session:
    """boto3's session; AWS_REGION counts as well as AWS_DEFAULT_REGION, which is the only one that boto3 reads."""
    given = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION")
    return Session(region_name=given) if given else Session()


def home() -> Path:
    """The local stack's state directory: SEEDANCE_HOME, else the nearest in a parent folder, else the checkout's."""
    if named := os.environ.get("SEEDANCE_HOME"):
        return Path(named).absolute()
    for folder in (Path.cwd(), *Path.cwd().parents):
        if any((folder / ".seedance" / name).exists() for name in ("outputs.json", "pids.json", "kept/stack.json")):
            return folder / ".seedance"
    return HOME


def find(stack: str | None, outputs_file: Path | None) -> Target:
    """The stack that the options name; without options, the one on this machine."""
    if stack and outputs_file:
        raise UsageError("--stack is for a stack on AWS and --outputs for a local one; use only one of them")
    if stack:
        return Target.on_aws(stack)
    local = on_this_machine(outputs_file)
    return Target(local.outputs, local)


def on_this_machine(outputs_file: Path | None) -> Stack:
    """The local stack of this outputs.json, or of ``home``. Raises CommandError or StackError if it does not work."""
    path = outputs_file or home() / "outputs.json"
    if not path.exists():
        raise CommandError(
            "no local stack is running; run `seedance up`, or name a stack on AWS with --stack or SEEDANCE_STACK"
        )
    stack = Stack.read(path)
    stack.check()
    return stack
