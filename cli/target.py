"""Which stack a command talks to: the one on this machine, or a deployed one on AWS."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from seedance.jobs.job import Job
from seedance.jobs.store import JobStore

from local import aws
from local.launch import HOME
from local.stack import Stack


class CommandError(Exception):
    """Why a command can't do what was asked, in a sentence for the person who asked."""


@dataclass(frozen=True)
class Target:
    """A stack's outputs and clients. ``local`` is None for a stack on AWS."""

    outputs: dict[str, str]
    local: Stack | None = None

    @classmethod
    def on_aws(cls, name: str) -> "Target":
        """A deployed stack, found with the ordinary credentials and region. Raises CommandError."""
        try:
            answer = Session().client("cloudformation").describe_stacks(StackName=name)
        except ClientError as error:
            raise CommandError(f"stack {name}: {error.response['Error']['Message']}") from error
        except BotoCoreError as error:
            raise CommandError(f"AWS can't be asked for stack {name}: {error}") from error
        outputs = answer["Stacks"][0].get("Outputs", [])
        return cls({item["OutputKey"]: item["OutputValue"] for item in outputs})

    @property
    def time_scale(self) -> float:
        """Seconds here per second of the provider."""
        return self.local.time_scale if self.local else 1.0

    @property
    def poll_seconds(self) -> float:
        """How often to look at a job."""
        return 0.25 if self.local else 2.0

    def client(self, service: Any, patience: float | None = None) -> Any:
        """A client of the stack's AWS.

        ``patience``: seconds that one call may take; it is then never sent a second time.
        """
        if self.local:
            return aws.client(self.local.access, service, patience)
        if patience is None:
            return Session().client(service)
        once = Config(read_timeout=patience, retries={"mode": "standard", "total_max_attempts": 1}, tcp_keepalive=True)
        return Session().client(service, config=once)

    @cached_property
    def jobs(self) -> JobStore:
        """The stack's jobs."""
        return JobStore(self.output("JobTableName"), self.client("dynamodb"))

    def job(self, job_id: str) -> Job:
        """The job. Raises CommandError when there is none."""
        if job := self.jobs.get(job_id):
            return job
        if job_id.startswith("batch-"):
            raise CommandError(f"{job_id} is a batch, not a job; `seedance status {job_id}` shows how it stands")
        raise CommandError(f"there is no job {job_id}; `seedance list` shows the newest")

    @cached_property
    def api_key(self) -> str:
        """The value of the API's key."""
        if self.local:
            return self.local.api_key
        answer = self.client("apigateway").get_api_key(apiKey=self.output("ApiKeyId"), includeValue=True)
        return str(answer["value"])

    def output(self, name: str) -> str:
        """A stack output. Raises CommandError when the stack is another kind of stack."""
        if name not in self.outputs:
            raise CommandError(f"the stack has no output {name}; is it a stack of this project?")
        return self.outputs[name]


def home() -> Path:
    """The local stack's state directory: SEEDANCE_HOME, or the nearest one upward, or the checkout's."""
    if named := os.environ.get("SEEDANCE_HOME"):
        return Path(named).absolute()
    for folder in (Path.cwd(), *Path.cwd().parents):
        if any((folder / ".seedance" / name).exists() for name in ("outputs.json", "pids.json", "kept/stack.json")):
            return folder / ".seedance"
    return HOME


def find(stack: str | None, outputs_file: Path | None) -> Target:
    """The stack that the options name; without any, the one on this machine."""
    if stack and outputs_file:
        raise CommandError("--stack names a stack on AWS and --outputs a local one; give one of the two")
    if stack:
        return Target.on_aws(stack)
    local = on_this_machine(outputs_file)
    return Target(local.outputs, local)


def on_this_machine(outputs_file: Path | None) -> Stack:
    """The local stack of that outputs.json, or of ``home``. Raises CommandError or StackError unless it is well."""
    path = outputs_file or home() / "outputs.json"
    if not path.exists():
        raise CommandError(
            "no local stack is up; run `seedance up`, or name a stack on AWS with --stack or SEEDANCE_STACK"
        )
    stack = Stack.read(path)
    stack.check()
    return stack
