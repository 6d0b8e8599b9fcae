"""Calls a function's handler as Lambda does: app.py is loaded by path; events and responses are JSON."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import aws_limits

CONTEXT = SimpleNamespace(
    function_name="tests",
    aws_request_id="c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:tests",
)


def load(root: Path, function: str) -> ModuleType:
    """A function's module, loaded afresh."""
    spec = importlib.util.spec_from_file_location(f"app_of_{function}", root / "functions" / function / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def invoke(root: Path, function: str, event: dict[str, Any]) -> Any:
    """Load the function afresh, and return its response."""
    return as_from_lambda(load(root, function).handler(event, CONTEXT))


def as_from_lambda(answer: Any) -> Any:
    """A function's answer as its caller gets it.

    Since Python 3.12, the runtime writes the answer in UTF-8 and not in ASCII (awslambdaric,
    lambda_runtime_marshaller.py). So half of a character in it fails the invocation, like an answer over 6 MB.
    """
    text = json.dumps(answer, ensure_ascii=False, allow_nan=False)
    text.encode()
    assert aws_limits.too_large_for_lambda(answer) is None
    return json.loads(text)
