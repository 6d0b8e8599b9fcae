"""Measures warm calls of the API beside a bare Lambda proxy, both through the local stack's gateway.

The bare function returns a constant. Its calls cost what the gateway and Lambda cost, so a ratio shows what the
pipeline's own work adds: for POST a validation, a record and a message; for GET a read of the record.
``python -m benchmarks.api_warm 20`` makes 20 calls of each.
"""

import io
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import httpx

from benchmarks.report import Table, in_turns, median_ratio, publish
from local import aws
from local import stack as local_stack
from local.stack import Options, Stack

ROUNDS = 100
BARE = "def handler(event, context):\n    return {'statusCode': 200, 'body': '{}'}\n"
MEMORY_MB = 512
"""As the API's function."""
BUDGET = "1000"
"""The day's budget in USD: enough for all videos that the calls order."""
NOTE = """Medians of {} calls, one at a time, through the local stack's gateway, whose Lambda runs each function in a
warm process. The bare function returns a constant. "Added" is the part that does not depend on how slow the local
gateway itself is."""


def bare_proxy(stack: Stack, code: str = BARE) -> str:
    """Create a function with this code, and an API of its own. Returns the API's address."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", code)
    function = aws.client(stack.access, "lambda").create_function(
        FunctionName="bare",
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/bare",
        Handler="app.handler",
        Code={"ZipFile": package.getvalue()},
        MemorySize=MEMORY_MB,
    )["FunctionArn"]
    gateway = aws.client(stack.access, "apigateway")
    api = gateway.create_rest_api(name="bare")["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    gateway.put_method(restApiId=api, resourceId=root, httpMethod="GET", authorizationType="NONE")
    gateway.put_integration(
        restApiId=api,
        resourceId=root,
        httpMethod="GET",
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=f"arn:aws:apigateway:{aws.REGION}:lambda:path/2015-03-31/functions/{function}/invocations",
    )
    gateway.create_deployment(restApiId=api, stageName="v1")
    return f"{stack.endpoint_url}/_aws/execute-api/{api}/v1/"


def timed(call: Callable[[], httpx.Response], expected: int) -> Callable[[], float]:
    """A measurement of the call, in milliseconds. Any other status than the expected one ends the benchmark."""

    def measure() -> float:
        began = time.perf_counter()
        response = call()
        took = time.perf_counter() - began
        if response.status_code != expected:
            raise SystemExit(f"{response.request.method} {response.url}: {response.status_code} {response.text}")
        return took * 1000

    return measure


def main(rounds: int = ROUNDS) -> None:
    """Measure all calls in turns; print and publish the table."""
    with tempfile.TemporaryDirectory(prefix="api-warm-") as home:
        options = Options(port=0, provider="sandbox", home=Path(home), parameters={"DailyBudgetUsd": BUDGET})
        try:
            stack, _ = local_stack.up(options, print)
            samples = _measure(stack, rounds)
        finally:
            local_stack.down(Path(home))
    publish(_table(samples, rounds))


def _measure(stack: Stack, rounds: int) -> dict[str, list[float]]:
    api = stack.outputs["ApiUrl"]
    with (
        httpx.Client(trust_env=False, timeout=60) as bare,
        httpx.Client(trust_env=False, timeout=60, headers={"x-api-key": stack.api_key}) as client,
    ):
        address = bare_proxy(stack)
        order = {"model": "seedance-pro", "prompt": "A red shoe turns on a table."}
        job = client.post(f"{api}/videos", json=order).raise_for_status().json()["job_id"]
        contenders = {
            "bare Lambda proxy": timed(lambda: bare.get(address), 200),
            "GET /videos/{id}": timed(lambda: client.get(f"{api}/videos/{job}"), 200),
            "POST /videos": timed(lambda: client.post(f"{api}/videos", json=order), 202),
        }
        for measure in contenders.values():  # the cold start
            measure()
        return in_turns(rounds, contenders)


def added(times: list[float], bare: list[float]) -> str:
    """The median of what a call took longer than the bare one of its round, in milliseconds."""
    return f"{median(one - other for one, other in zip(times, bare, strict=True)):.1f}"


def _table(samples: dict[str, list[float]], rounds: int) -> Table:
    bare = samples["bare Lambda proxy"]
    rows = [
        [
            name,
            f"{median(times):.1f}",
            f"{quantiles(times, n=20)[-1]:.1f}",
            f"{median_ratio(times, bare):.2f}",
            added(times, bare),
        ]
        for name, times in samples.items()
    ]
    return Table(
        "api_warm",
        "Warm calls of the API",
        ["call", "median (ms)", "p95 (ms)", "vs. bare", "added (ms)"],
        rows,
        [NOTE.format(rounds)],
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
