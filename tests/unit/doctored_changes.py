"""Changes to the doctor's healthy stack (doctored.Stack), each as a function that makes it."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import doctored
import httpx
from doctored import Stack, attributes, configuration, job
from seedance.jobs.job import State

BROKEN_STACK = {
    "Stacks": [
        {"StackName": "shop", "CreationTime": datetime.now(UTC), "StackStatus": "UPDATE_ROLLBACK_COMPLETE"},
    ]
}

EARLIER = {"error": "this release does not support the request 'examine'"}


def answers(**changed: Any) -> Callable[[Stack], None]:
    """Change answers of AWS: ``s3__GetBucketPolicy=…``."""

    def change(stack: Stack) -> None:
        stack.answers |= {name.replace("__", "."): answer for name, answer in changed.items()}

    return change


def examined(what: str, **changed: Any) -> Callable[[Stack], None]:
    def change(stack: Stack) -> None:
        stack.examined[what] = {**stack.examined[what], **changed}

    return change


def rejected(what: str, code: str) -> Callable[[Stack], None]:
    def change(stack: Stack) -> None:
        stack.examined[what] = {"trouble": {"code": code, "message": "The provider rejected the API key."}}

    return change


def parameter(**changed: str) -> Callable[[Stack], None]:
    return lambda stack: stack.parameters.update(changed)


def queue(name: str, **changed: str | None) -> Callable[[Stack], None]:
    """Change the attributes of one queue."""

    def answer(given: dict[str, Any]) -> dict[str, Any]:
        this = given["QueueUrl"].rpartition("/")[2]
        return {"Attributes": attributes(this, **(changed if this == name else {}))}

    return answers(sqs__GetQueueAttributes=answer)


def item(key: str, **values: Any) -> Callable[[Stack], None]:
    return lambda stack: stack.items.update({key: {"job_id": key, **values}})


def a_job(*given: Any, **facts: Any) -> Callable[[Stack], None]:
    def change(stack: Stack) -> None:
        stack.put(job(*given, **facts))

    return change


def page(part: str, status: int, **said: Any) -> Callable[[Stack], None]:
    def change(stack: Stack) -> None:
        stack.pages[part] = lambda _: httpx.Response(status, **said)

    return change


def not_resolved(part: str) -> Callable[[Stack], None]:
    """The DNS does not know a host."""

    def fails(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Name or service not known", request=request)

    return lambda stack: stack.pages.update({part: fails})


def console(status: int) -> Callable[[Stack], None]:
    """The console's page without its headers."""

    def change(stack: Stack) -> None:
        stack.console = httpx.Response(status)

    return change


def of_one_function(**changed: Any) -> Callable[[Stack], None]:
    def answer(given: dict[str, Any]) -> dict[str, Any]:
        return configuration(**(changed if given["FunctionName"] == "shop-poll" else {}))

    return answers(lambda__GetFunctionConfiguration=answer)


def open_policy(action: str, resource: str) -> str:
    return doctored.policy({"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": action, "Resource": resource})


def without_trigger(function: str) -> Callable[[Stack], None]:
    """Turn off what invokes a function for messages or records."""

    def answer(given: dict[str, Any]) -> dict[str, Any]:
        state = "Disabled" if given["FunctionName"] == function else "Enabled"
        return {"EventSourceMappings": [{"State": state}]}

    return answers(lambda__ListEventSourceMappings=answer)


def gone(stack: Stack) -> None:
    """The receiver of the webhooks has answered 410."""
    address = hashlib.sha256(doctored.HOOK.encode()).hexdigest()
    item("webhook#gone", address=address, gone_at=1.0)(stack)


def one_drift(stack: Stack) -> None:
    item("bills#seedance-1.5-pro", **{"480p 4s 1:1 silent": [0.06, 0.06, 0.06]})(stack)


def tls_only_for_listing(given: dict[str, Any]) -> dict[str, Any]:
    bucket = f"arn:aws:s3:::{given['Bucket']}"
    return {"Policy": doctored.policy(doctored.only_tls("s3:ListBucket", bucket))}


def metric_missing(stack: Stack) -> None:
    stack.put(job(State.COMPLETED, ago=10_000))
    stack.answers["cloudwatch.ListMetrics"] = {"Metrics": [{"MetricName": "JobsSubmitted"}]}


def link_of_the_api(answer: httpx.Response) -> Callable[[Stack], None]:
    def change(stack: Stack) -> None:
        stack.put(job(State.COMPLETED))
        link = "https://elsewhere.example/v.mp4"
        stack.pages |= {
            "/v1/videos/": lambda _: httpx.Response(200, json={"video": {"url": link}}),
            "elsewhere": lambda _: answer,
        }

    return change
