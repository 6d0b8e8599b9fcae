"""A running stack, attacked as a web page would attack it, and used as its owner uses it."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from botocore.exceptions import ClientError
from deployed import SAMPLE, Deployed

from cli import show
from local import aws
from local.sigv4 import Credentials

pytestmark = pytest.mark.e2e

PROCESSES = Path("/proc")
LISTENING = "0A"
PAGES: list[dict[str, str]] = [
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Host": "evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]
CODE = "def handler(event, context):\n    return open(event).read()\n"


def function() -> dict[str, Any]:
    """The request that creates a function to read the user's files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", CODE)
    role = "arn:aws:iam::000000000000:role/r"
    return {"FunctionName": "evil", "Runtime": "python3.11", "Handler": "app.handler", "Role": role, "Code": packed}


def listening(groups: set[int]) -> set[tuple[str, int]]:
    """The addresses, as in /proc, and the ports on which the processes of these groups listen."""
    inodes = set()
    for process in PROCESSES.iterdir():
        if not process.name.isdigit():
            continue
        try:
            group = int((process / "stat").read_text().rpartition(")")[2].split()[2])
            if group in groups:
                inodes |= {str(file.readlink()) for file in (process / "fd").iterdir()}
        except OSError:  # it ended while it was being read
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in (PROCESSES / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and f"socket:[{fields[9]}]" in inodes:
                address, _, port = fields[1].partition(":")
                found.add((address, int(port, 16)))
    return found


@pytest.fixture
def servers(deployed: Deployed) -> Iterator[dict[str, str]]:
    """The two addresses of the stack, by name."""
    assert deployed.stack.sandbox_url
    yield {"emulator": deployed.stack.endpoint_url, "sandbox": deployed.stack.sandbox_url}


@pytest.mark.hostile(kind="stranger")
@pytest.mark.skipif(not (PROCESSES / "net/tcp").exists(), reason="the ports are read from /proc")
def test_every_port_of_the_stack_listens_only_locally_and_is_protected(
    deployed: Deployed, servers: dict[str, str]
) -> None:
    loopback = {"0100007F", "00000000000000000000000001000000"}
    found = listening(set(deployed.stack.pids.values()))
    assert {port for _, port in found} == {urlsplit(url).port for url in servers.values()}
    assert {address for address, _ in found} <= loopback
    for _, port in found:
        url = f"http://127.0.0.1:{port}"
        for headers in PAGES:
            for method, path in (("GET", "/"), ("POST", "/2015-03-31/functions"), ("POST", "/v2/seedance-pro")):
                answer = deployed.api.request(method, url + path, content=b"{}", headers=headers)
                assert answer.status_code == 403, (url, headers)
                assert any(word in answer.text for word in ("pages of another", "is not this server"))
        for path in ("/", "/v2/seedance-pro", "/v2/requests/x"):
            assert deployed.api.options(url + path).status_code == 403
            without = deployed.api.post(url + path, content=b"{}").status_code
            assert without in ((403,) if url == servers["emulator"] else (401, 404)), (url, path)


@pytest.mark.hostile(kind="stranger")
@pytest.mark.parametrize("headers", PAGES)
def test_no_web_page_creates_a_function_or_reads_the_secret(deployed: Deployed, headers: dict[str, str]) -> None:
    body = {**function(), "Code": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}}
    attempts = [
        ("/2015-03-31/functions", {}, body),
        ("/2015-03-31/functions/evil/invocations", {}, "/etc/passwd"),
        ("/", {"X-Amz-Target": "secretsmanager.GetSecretValue"}, {"SecretId": "segmind-api-key"}),
        ("/_ministack/config", {}, {"lambda_svc.LAMBDA_EXECUTOR": "docker"}),
        ("/_ministack/reset", {}, {}),
    ]
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=test/20261126/us-east-1/lambda/aws4_request, "
              "SignedHeaders=host, Signature=0", "X-Amz-Date": "20261126T000000Z"}  # fmt: skip
    for path, target, content in attempts:
        for more in ({}, signed):
            url = deployed.stack.endpoint_url + path
            answer = deployed.api.post(
                url, content=json.dumps(content), headers={"Content-Type": "text/plain", **target, **more, **headers}
            )
            assert answer.status_code == 403, answer.text
            assert "access-control-allow-origin" not in answer.headers
    names = [one["FunctionName"] for one in deployed.client("lambda").list_functions()["Functions"]]
    assert names, "nothing was reset"
    assert "evil" not in names


@pytest.mark.hostile(kind="stranger")
def test_without_the_credentials_no_function_can_be_created(deployed: Deployed) -> None:
    at = deployed.stack.access
    for other in (Credentials("test", "test"), Credentials(at.credentials.access_key_id, "test")):
        client = aws.client.__wrapped__(aws.Access(at.endpoint_url, other), "lambda")
        zipped = function()["Code"].getvalue()
        with pytest.raises(ClientError, match=r"is not this stack's|does not match"):
            client.create_function(**{**function(), "Code": {"ZipFile": zipped}})
    answer = deployed.api.post(f"{at.endpoint_url}/2015-03-31/functions", content=b"{}")
    assert (answer.status_code, "is not signed" in answer.text) == (403, True)


@pytest.mark.hostile(kind="address")
def test_a_functions_environment_has_the_stacks_secret(deployed: Deployed) -> None:
    """The gate recognises a link that a function signed."""
    job = deployed.completed(deployed.order(prompt="signed here", parameters={"resolution": "480p"}))
    link = job["video"]["url"]
    assert deployed.api.get(link).status_code == 200
    mail = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert deployed.api.get(link, headers=mail).status_code == 200
    for wrong in (
        link[:-1] + ("0" if link[-1] != "0" else "1"),
        link.replace("/videos/", "/other/"),
        link.split("?")[0],
    ):
        assert deployed.api.get(wrong).status_code == 403, wrong
    assert deployed.api.get(link, headers={"Origin": "http://evil.example"}).status_code == 403


def test_the_owners_shell_works(deployed: Deployed) -> None:
    exports = "\n".join(show.shell(*show.exports(deployed.stack, [])))
    bucket = deployed.output("UploadBucketName")
    script = f"""set -e
{exports}
aws s3 cp "{SAMPLE}" "s3://{bucket}/images/by shell+1.jpg"
aws s3api head-object --bucket {bucket} --key "images/by shell+1.jpg" --query ContentLength
aws sqs list-queues --query 'length(QueueUrls)'
aws secretsmanager get-secret-value --secret-id segmind-api-key --query SecretString --output text
aws stepfunctions list-state-machines --query 'length(stateMachines)'
curl -sS "$API_URL/models" -H "x-api-key: $API_KEY" -o /dev/null -w '%{{http_code}}\\n'
curl -sS "$API_URL/models" -o /dev/null -w '%{{http_code}}\\n'
curl -sS "$AWS_ENDPOINT_URL/_ministack/ses/messages" -o /dev/null -w '%{{http_code}}\\n'
curl -sS "$AWS_ENDPOINT_URL/_ministack/ses/messages" -o /dev/null -w '%{{http_code}}\\n' \\
    --aws-sigv4 aws:amz:us-east-1:ses --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"
"""
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **aws.NO_FILES}
    done = subprocess.run(  # noqa: S603 - our own script
        ["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[-4:] == ["200", "403", "403", "200"]
    assert str(SAMPLE.stat().st_size) in said
    assert any(line.startswith("SG_") for line in said)


@pytest.mark.hostile(kind="stranger")
def test_a_foreign_host_name_that_resolves_to_this_machine_is_refused(
    deployed: Deployed, servers: dict[str, str]
) -> None:
    for url in servers.values():
        port = urlsplit(url).port
        answer = httpx.get(f"{url}/", headers={"Host": f"rebound.example:{port}"}, trust_env=False)
        assert (answer.status_code, "is not this server" in answer.text) == (403, True)
