"""Rows of the provider's history, for the tests of those who look something up in it."""

from datetime import UTC, datetime
from typing import Any

import httpx

ID = "up-0123456789abcdef0123456789abcdef"
OTHER = "up-fedcba9876543210fedcba9876543210"
LINK = "https://images.segmind.com/v.mp4"
IMAGE = {"bucket": "example-uploads", "key": "uploads/a.png", "version_id": "v", "content_type": "image/png"}
LOST = {"code": "SUBMIT_UNCERTAIN", "message": "the connection dropped before a response"}


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def row(world: Any, request_id: str = "req-9", names: str | None = ID, **fields: Any) -> dict[str, Any]:
    """A row of the history; its image link names a job, or there is none."""
    disposition = f"response-content-disposition=inline%3B%20filename%3D%22{names}%22"
    link = f"https://example-uploads.s3.eu-central-1.amazonaws.com/uploads/a.png?{disposition}&X-Amz-Signature=0"
    body = {"image_url": link} if names else {}
    made = {"request_id": request_id, "model_status": "PENDING", "request_body": body}
    return {**made, "created_at": iso(world.clock.now - 55), **fields}


def history(*rows: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"data": list(rows)})
