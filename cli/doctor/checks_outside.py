"""Checks of what people and programs outside AWS see: notifications, alarms, the API, links."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
from seedance.jobs.job import State
from seedance.jobs.tokens import new_token
from seedance.watch import NOT_FOUND

from cli import show
from cli.doctor.deployment import Deployment
from cli.doctor.results import Result, failed, found, ok, skipped, when
from cli.target import Target

FRESH_SECONDS = 2 * 3600.0
"""A metric may appear this late; in practice it takes minutes."""

LISTED_SECONDS = timedelta(days=13).total_seconds()
"""ListMetrics shows a metric for two weeks after its last value (CloudWatch API reference)."""

_HTTP_SECONDS = 30.0
"""As long as the api function may take."""


def notifications(of: Deployment) -> Result:
    """The subscribers of notifications are confirmed, NotificationEmail among them."""
    subscribed = list(_subscriptions(of, of.target.output("NotificationTopicArn")))
    return _heard(subscribed, of.parameters.get("NotificationEmail", ""), "NotificationEmail")


def alarm_subscribers(of: Deployment) -> Result:
    """Someone receives the alarms: AlarmTopic has a confirmed subscriber."""
    subscribed = list(_subscriptions(of, of.target.output("AlarmTopicArn")))
    told = _heard(subscribed, of.parameters.get("AlarmEmail", ""), "AlarmEmail")
    return told if subscribed else failed("nobody is subscribed to the alarms")


def _heard(subscribed: list[dict[str, str]], mail: str, parameter: str) -> Result:
    """Whether all subscriptions are confirmed, with that of the address in a parameter among them."""
    pending = [one["Endpoint"] for one in subscribed if not one["SubscriptionArn"].startswith("arn:")]
    if mail and mail not in [one["Endpoint"] for one in subscribed]:
        return failed(f"{mail} ({parameter}) is not subscribed")
    if pending:
        return failed(f"not confirmed: {', '.join(pending)}")
    if not subscribed:
        return ok(f"no subscribers; {parameter} is empty")
    return ok(f"{show.number(len(subscribed), 'confirmed subscriber')}")


def _subscriptions(of: Deployment, topic: str) -> Iterator[dict[str, str]]:
    for page in of.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic):
        yield from page["Subscriptions"]


def alarms(of: Deployment) -> Result:
    """Every alarm of the stack exists, is enabled, notifies someone, and is not in the state ALARM."""
    names = of.of_type("AWS::CloudWatch::Alarm")
    pages = of.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNames=list(names.values()))
    seen = {one["AlarmName"]: one for page in pages for one in page["MetricAlarms"]}
    wrong = []
    for logical, name in names.items():
        one = seen.get(name)
        if one is None:
            wrong.append(f"{logical} does not exist any more")
        elif one["StateValue"] == "ALARM":
            wrong.append(f"{logical} has been in ALARM since {when(one['StateUpdatedTimestamp'].timestamp())}")
        elif not (one.get("ActionsEnabled") and one.get("AlarmActions")):
            wrong.append(f"{logical} notifies nobody")
    waiting = sum(one["StateValue"] == "INSUFFICIENT_DATA" for one in seen.values())
    said = f"none of {show.number(len(names), 'alarm')} is in ALARM"
    return found(wrong, f"{said}; {waiting} without data yet" if waiting else said)


def metrics(of: Deployment) -> Result:
    """CloudWatch has the stack's metrics, if a video was completed within the time for which it lists them."""
    now = time.time()
    done = [
        job
        for job in of.target.jobs.newest(State.COMPLETED, limit=100)
        if FRESH_SECONDS < now - job.updated_at < LISTED_SECONDS
    ]
    if not done:
        return skipped("no video was completed recently")
    said = of.client("cloudwatch").list_metrics(
        Namespace="SeedancePipeline", Dimensions=[{"Name": "service", "Value": of.name}]
    )
    names = {one["MetricName"] for one in said["Metrics"]}
    if "JobsCompleted" not in names:
        return failed("there are completed videos, but no metric JobsCompleted")
    return ok(show.number(len(names), "metric"))


def api(of: Deployment) -> Result:
    """The API answers with its key, and 403 without one or with a wrong one; the console's page needs none. On AWS
    also: the form of its errors, 404 for an unknown path, and one stage."""
    wrong = []
    with _http(of.target) as client:

        def get(path: str, key: str | None) -> httpx.Response:
            headers = {"x-api-key": key} if key else {}
            return client.get(of.target.output("ApiUrl") + path, headers=headers)

        for who, key in (("without a key", None), ("with a wrong key", "0" * 40)):
            answer = get("/models", key)
            if answer.status_code != httpx.codes.FORBIDDEN:
                wrong.append(f"GET /models {who} got {answer.status_code}, not 403")
            elif not of.emulated and _code(answer) != "FORBIDDEN":
                wrong.append(f"the 403 {who} does not have the form of the API's errors")
        if (status := get("/models", of.target.api_key).status_code) != httpx.codes.OK:
            wrong.append(f"GET /models with the key got {status}")
        wrong += _console(client, of.target.outputs.get("ConsoleUrl", f"{of.target.output('ApiUrl')}/"))
        if not of.emulated:
            answer = get("/does-not-exist", of.target.api_key)
            if (answer.status_code, _code(answer)) != (httpx.codes.NOT_FOUND, "NOT_FOUND"):
                wrong.append(f"an unknown path got {answer.status_code}, not the API's own 404")
            stages = of.client("apigateway").get_stages(restApiId=of.physical("Api"))["item"]
            if (names := sorted(one["stageName"] for one in stages)) != ["v1"]:
                wrong.append(f"the API has the stages {', '.join(names)}, not only v1")
    return found(wrong, "403 without its key, 200 with it")


def _console(client: httpx.Client, url: str) -> Iterator[str]:
    """What is wrong with the console's page, which is at the custom domain if there is one."""
    try:
        page = client.get(url)
    except httpx.TransportError as error:
        yield f"{url} can't be reached: {error}"
        return
    if page.status_code != httpx.codes.OK or "content-security-policy" not in page.headers:
        yield f"the console's page got {page.status_code}, or has no policy for its content"


def _code(answer: httpx.Response) -> str | None:
    """The code of a problem, the form of the API's own errors."""
    try:
        said = answer.json()
    except ValueError:
        return None
    code = said.get("code") if isinstance(said, dict) else None
    return code if isinstance(code, str) else None


def links(of: Deployment) -> Result:
    """Signed links lead straight to the bucket, for a client that follows no redirect and knows nothing of AWS."""
    wrong = []
    with _http(of.target) as client:
        for what, link in _links(of):
            answer = client.get(link, headers={"Range": "bytes=0-0"})
            if why := _misled(answer):
                wrong.append(f"a link to {what}: {why}")
    return found(wrong, "lead straight to the buckets")


def _links(of: Deployment) -> Iterator[tuple[str, str]]:
    """Links as the stack signs them: by the repair function, and by the API, if there is a video."""
    yield "nothing, from a function", of.link
    if done := of.target.jobs.newest(State.COMPLETED, limit=1):
        with _http(of.target) as client:
            answer = client.get(
                f"{of.target.output('ApiUrl')}/videos/{done[0].job_id}", headers={"x-api-key": of.target.api_key}
            )
        said: dict[str, Any] = answer.json() if answer.status_code == httpx.codes.OK else {}
        if said.get("video"):
            yield "a video, from the API", said["video"]["url"]


def _misled(answer: httpx.Response) -> str | None:
    """Why a link does not work. None if it does, or only its object is missing, or the signer may not read it."""
    if answer.is_redirect:
        return f"{answer.status_code}, a redirect to {answer.headers.get('location', 'nowhere')[:60]}"
    code = answer.text.partition("<Code>")[2].partition("</Code>")[0] if answer.status_code >= 400 else ""
    if answer.status_code in (200, 206) or code in ("NoSuchKey", "AccessDenied"):
        return None
    return f"{answer.status_code} {code}".strip()


def video_pages(of: Deployment) -> Result:
    """The address of the lasting links that mails carry, with a custom domain if there is one, leads to their page:
    an unknown link gets the stack's own 404."""
    of.expect("LinkApi")
    base = of.target.output("LinkUrl")
    with _http(of.target) as client:
        try:
            answer = client.get(f"{base}/{new_token()}")
        except httpx.TransportError as error:
            return failed(f"{base} can't be reached: {error}")
    if answer.status_code != httpx.codes.NOT_FOUND:
        return failed(f"an unknown link under {base} got {answer.status_code}, not 404")
    if answer.text != NOT_FOUND:
        return failed(f"the 404 of {base} is not the page of this release: something else answers there")
    off = of.parameters.get("VideoLinkDays") == "0"
    return ok(f"{base} answers" + ("; VideoLinkDays is 0, so no links are made" if off else ""))


def _http(target: Target) -> httpx.Client:
    # A proxy from the user's environment must not be used for an address on this machine.
    return httpx.Client(timeout=_HTTP_SECONDS, follow_redirects=False, trust_env=target.local is None)
