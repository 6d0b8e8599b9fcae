"""Calls a function's handler as Lambda does: app.py is loaded by path; events and responses are JSON."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

CONTEXT = SimpleNamespace(
    function_name="tests",
    aws_request_id="c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:tests",
)


def invoke(root: Path, function: str, event: dict[str, Any]) -> Any:
    """Load the function afresh, and return its response."""
    path = root / "functions" / function / "app.py"
    spec = importlib.util.spec_from_file_location(f"app_of_{function}", path)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return json.loads(json.dumps(module.handler(event, CONTEXT)))
