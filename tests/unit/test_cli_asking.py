"""How commands invoke the repair function: once, with a long timeout, and how its answer is used."""

import io
import json
from types import SimpleNamespace
from typing import Any

import pytest

from cli import asking
from cli.target import CommandError, Target
from local import aws
from local.stack import Stack

LOCAL = Stack(
    endpoint_url="http://127.0.0.1:9",
    access_key_id="id",
    secret_access_key="secret",
    outputs={},
    api_key="k",
    pids={},
    time_scale=1.0,
)


@pytest.mark.parametrize("local", [None, LOCAL], ids=["on AWS", "on this machine"])
def test_repair_is_called_once_and_waited_for_longer_than_its_timeout(
    *, local: Stack | None, template: dict[str, Any]
) -> None:
    config = Target({}, local).client("lambda", asking.ANSWER_SECONDS).meta.config
    assert config.read_timeout > template["Resources"]["RepairFunction"]["Properties"]["Timeout"]
    assert config.retries["total_max_attempts"] == 1
    others = Target({}, local).client("sqs").meta.config
    assert (others.retries or {}).get("total_max_attempts") != 1
    aws.client.cache_clear()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"Payload": {"error": "there is no such request"}}, "there is no such request"),
        ({"Payload": {"errorMessage": "boom"}, "FunctionError": "Unhandled"}, "crashed: boom"),
        ({"Payload": {}, "FunctionError": "Unhandled"}, "crashed: {}"),
        ({"Payload": {"rows": []}}, None),
    ],
)
def test_repairs_response_is_returned_or_its_error_is_one_sentence(
    *, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], says: str | None
) -> None:
    sent: list[dict[str, Any]] = []

    def invoke(**call: Any) -> dict[str, Any]:
        sent.append(call)
        return {**answer, "Payload": io.BytesIO(json.dumps(answer["Payload"]).encode())}

    def client(_: Target, service: str, patience: float) -> Any:
        assert (service, patience) == ("lambda", asking.ANSWER_SECONDS)
        return SimpleNamespace(invoke=invoke)

    monkeypatch.setattr(Target, "client", client)
    target = Target({"RepairFunctionName": "repair"})
    if says is None:
        assert asking.ask_repair(target, ask="history", model="m") == {"rows": []}
    else:
        with pytest.raises(CommandError, match=says):
            asking.ask_repair(target, ask="history", model="m")
    assert sent == [{"FunctionName": "repair", "Payload": b'{"ask": "history", "model": "m"}'}]
