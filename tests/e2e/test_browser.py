"""A real browser against the local stack: pages of strangers get and change nothing, and a person's link plays."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from deployed import SAMPLE, Deployed, until
from playwright.sync_api import BrowserContext
from stranger import STAND_IN, Attack, Plan, against_aws, on, site

from local import aws, processes
from local.sandbox import Sandbox, running, server
from local.sigv4 import Credentials

pytestmark = [pytest.mark.e2e, pytest.mark.hostile(kind="stranger")]

OTHER_NAMES = ("localhost", "evil.localhost", "rebound.example")
"""More names of 127.0.0.1. A browser knows some of them by itself, and the others from a stranger's DNS server."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The stranger's web site."""
    with site() as found:
        yield found


def things(at: aws.Access) -> set[str]:
    """What exists in a local AWS, by name: queues, topics, functions, machines, secrets, and versions of objects."""
    lists: list[tuple[str, str, str, str]] = [
        ("sqs", "list_queues", "QueueUrls", ""),
        ("sns", "list_topics", "Topics", "TopicArn"),
        ("lambda", "list_functions", "Functions", "FunctionName"),
        ("stepfunctions", "list_state_machines", "stateMachines", "name"),
        ("secretsmanager", "list_secrets", "SecretList", "Name"),
    ]
    found = set()
    for service, operation, key, name in lists:
        for answer in aws.client(at, service).get_paginator(operation).paginate():
            found |= {f"{service}: {each[name] if name else each}" for each in answer.get(key, [])}
    s3 = aws.client(at, "s3")
    for bucket in s3.list_buckets()["Buckets"]:
        found.add(f"bucket {bucket['Name']}")
        for answer in s3.get_paginator("list_object_versions").paginate(Bucket=bucket["Name"]):
            found |= {f"{bucket['Name']}/{each['Key']} {each['VersionId']}" for each in answer.get("Versions", [])}
    return found


def shown(sandbox: str, deployed: Deployed) -> dict[str, Any]:
    """What a stranger could have changed in the stand-in."""
    return {path: deployed.api.get(f"{sandbox}/_sandbox/{path}").json() for path in ("jobs", "faults", "config")}


@pytest.mark.timeout(240)
@pytest.mark.slow
def test_no_page_reads_or_changes_anything(
    deployed: Deployed, context: BrowserContext, port: int, record_property: Callable[[str, object], None]
) -> None:
    emulator, sandbox = deployed.stack.endpoint_url, str(deployed.stack.sandbox_url)
    plans = {emulator: against_aws(deployed.output("UploadBucketName"), urlsplit(deployed.output("ApiUrl")).path)}
    plans[sandbox] = STAND_IN
    everything = things(deployed.stack.access), set(deployed.states()), shown(sandbox, deployed)
    attacks = [Attack(context, plans), Attack(context, {base: plan.short() for base, plan in plans.items()})]
    for base in plans:
        attacks[0].come_from(f"http://attacker.example:{port}", base)
        attacks[1].come_from(f"http://127.0.0.1:{port}", base)
        attacks[1].come_from(f"http://localhost:{port}", base, OTHER_NAMES)
        attacks[1].come_from(on("rebound.example", base), base, ["rebound.example"], f"http://127.0.0.1:{port}")
    assert [attack.learned for attack in attacks] == [[], []]
    assert (things(deployed.stack.access), set(deployed.states()), shown(sandbox, deployed)) == everything
    answers = attacks[0].answers  # the context's: of both
    assert {status for _, status in answers} == {403}
    for name in ("127.0.0.1", *OTHER_NAMES):  # the requests arrived; it is not the browser that held them back
        assert all(answers[on(name, base), 403] > 50 for base in plans), answers
    record_property("tried", sum(attack.tried for attack in attacks))
    _owner_works(deployed)


def _owner_works(deployed: Deployed) -> None:
    """What people do in their shells still works after all that."""
    environment = {**os.environ, **aws.environment(deployed.stack.access), "API_KEY": deployed.stack.api_key}
    bucket, api = deployed.output("UploadBucketName"), deployed.output("ApiUrl")
    where = {"Bucket": bucket, "Key": "images/by its owner.jpg"}
    link = deployed.client("s3").generate_presigned_url("get_object", Params=where)
    script = f"""set -e
aws s3 cp --only-show-errors "{SAMPLE}" "s3://{bucket}/images/by its owner.jpg"
aws s3 ls "s3://{bucket}/images/"
curl -sS -f "{api}/models" -H "x-api-key: $API_KEY"
curl -sS -f "{link}" -o /dev/null -w '%{{size_download}}'
"""
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603 - our own script
        ["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "by its owner.jpg" in done.stdout
    assert "seedance-2.0-mini" in done.stdout
    assert done.stdout.endswith(str(SAMPLE.stat().st_size))


@pytest.fixture
def open_aws(tmp_path: Path) -> Iterator[aws.Access]:
    """The emulator as the stack starts it, but without the gate."""
    at = aws.Access(f"http://127.0.0.1:{processes.free_port()}", Credentials("test", "test"))
    code = "import local.ministack_server as m; m.Gate = lambda app, port, credentials: app; m.main()"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "IOT_MTLS_ENABLED": "false"}
    env |= {"GATEWAY_PORT": str(urlsplit(at.endpoint_url).port), "SFTP_ENABLED": "false"}
    env |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "PYTHONPATH": os.pathsep.join(sys.path)}
    root = Path(aws.__file__).parents[1]
    child = processes.start([sys.executable, "-c", code], env=env, cwd=root, log=tmp_path / "open.log")
    try:
        until(lambda: processes.listens(int(env["GATEWAY_PORT"])), "the open emulator", 20)
        aws.create_bucket(at, "uploads")
        yield at
    finally:
        processes.stop(child.pid)


@pytest.mark.slow
def test_without_the_gate_the_same_page_succeeds(open_aws: aws.Access, context: BrowserContext, port: int) -> None:
    """The attack is a real one: each part of it that the gate stops does harm where nothing stops it."""
    before = things(open_aws)
    attack = Attack(context, {open_aws.endpoint_url: against_aws("uploads").short()})
    attack.come_from(f"http://attacker.example:{port}", open_aws.endpoint_url)
    made = things(open_aws) - before
    assert all("evil" in thing for thing in made)
    assert {thing.partition(": ")[0] for thing in made} == {"sqs", "sns", "lambda", "uploads/uploads/evil.jpg null"}
    assert [line for line in attack.learned if ": fetch " in line]


@pytest.mark.slow
def test_without_its_check_the_stand_in_obeys_a_page(
    context: BrowserContext, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_not_a_page", lambda request: None)
    with running() as sandbox:
        attack = Attack(context, {sandbox.url: STAND_IN})
        attack.come_from(f"http://attacker.example:{port}", sandbox.url)
        assert _faults(sandbox)


def _faults(sandbox: Sandbox) -> list[Any]:
    return list(sandbox.control.get("/_sandbox/faults").json()["faults"])


# a person ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def video(deployed: Deployed) -> dict[str, Any]:
    """A finished video: its key, and its link as in the notification."""
    job = deployed.completed(deployed.order(prompt="for the browser", parameters={"resolution": "480p"}))
    return dict(job["video"])


@pytest.fixture
def link(deployed: Deployed, video: dict[str, Any]) -> str:
    """A signed link to the video that does not ask the browser to save it."""
    where = {"Bucket": deployed.output("VideoBucketName"), "Key": video["key"]}
    found = deployed.client("s3").generate_presigned_url(
        "get_object", Params={**where, "ResponseContentDisposition": "inline"}
    )
    return str(found)


PLAYS = """async () => {
    const video = document.querySelector("video");
    if (!video) return document.documentElement.innerText;
    video.muted = true;
    await video.play();
    return [video.videoWidth > 0, Math.round(video.duration), video.error && video.error.message];
}"""


def test_a_link_in_a_mail_opens_and_plays(link: str, context: BrowserContext, port: int) -> None:
    page = context.new_page()
    page.goto(f"http://mail.example:{port}/mail?link={quote(link, safe='')}")
    with page.expect_popup() as opened:
        page.click("text=watch")
    assert opened.value.wait_for_selector("video")
    assert opened.value.evaluate(PLAYS) == [True, 5, None]


def test_a_link_typed_into_the_address_bar_plays(link: str, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(link, wait_until="commit")
    assert page.wait_for_selector("video")
    assert page.evaluate(PLAYS) == [True, 5, None]


def test_the_link_of_a_notification_is_downloaded_whole(
    deployed: Deployed, video: dict[str, Any], context: BrowserContext, port: int
) -> None:
    page = context.new_page()
    page.goto(f"http://mail.example:{port}/mail?link={quote(video['download_url'], safe='')}")
    with page.expect_download() as download:
        page.click("text=watch")
    content = deployed.client("s3").get_object(Bucket=deployed.output("VideoBucketName"), Key=video["key"])
    assert Path(download.value.path()).read_bytes() == content["Body"].read()


def test_a_page_that_knows_a_link_cannot_read_or_embed_it(
    link: str, context: BrowserContext, port: int, record_property: Callable[[str, object], None]
) -> None:
    base = "{0.scheme}://{0.netloc}".format(urlsplit(link))
    attack = Attack(context, {base: Plan([link.removeprefix(base)], [])})
    attack.come_from(f"http://attacker.example:{port}", base)
    assert attack.learned == []
    assert attack.answers[base, 403] > 10
    record_property("tried", attack.tried)
