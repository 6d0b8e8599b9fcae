"""Calls to the provider's API that several tests of the stand-in make."""

from typing import Any

import httpx

from local.sandbox import Sandbox
from local.sandbox.models import MODELS

SLUG = "seedance-2.0-mini"
BODY = {"prompt": "a horse", "aspect_ratio": "1:1", "resolution": "480p", "duration": 4, "generate_audio": False}
PRO = {"prompt": "a horse", "aspect_ratio": "1:1", "duration": 5, "resolution": "480p"}
MINI = {"prompt": "a horse", "aspect_ratio": "1:1", "resolution": "480p", "generate_audio": False}
HISTORY = "/inference-request/request-history"


def submitted(api: httpx.Client, **changes: Any) -> dict[str, Any]:
    return dict(api.post(f"/v2/{SLUG}", json=BODY | changes).json())


def completed(sandbox: Sandbox, api: httpx.Client) -> dict[str, Any]:
    job = submitted(api)
    sandbox.finished(job["request_id"])
    return job


def ordered(api: httpx.Client, slug: str = SLUG, **changes: Any) -> dict[str, Any]:
    """Submit a small video of any model, which must be accepted."""
    base = PRO if MODELS[slug].parameters["duration"].required else MINI
    answer = api.post(f"/v2/{slug}", json=base | changes)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
