"""Calls to the provider's API that several tests of the stand-in make."""

from typing import Any

import httpx

from local.sandbox import Sandbox

SLUG = "seedance-2.0-mini"
BODY = {"prompt": "a horse", "aspect_ratio": "1:1", "resolution": "480p", "duration": 4, "generate_audio": False}
HISTORY = "/inference-request/request-history"


def submitted(api: httpx.Client, **changes: Any) -> dict[str, Any]:
    return dict(api.post(f"/v2/{SLUG}", json=BODY | changes).json())


def completed(sandbox: Sandbox, api: httpx.Client) -> dict[str, Any]:
    job = submitted(api)
    sandbox.finished(job["request_id"])
    return job
