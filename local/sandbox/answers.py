"""The texts and formats of the provider's errors, as listed in docs/provider.md."""

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

# name: (HTTP status, sentence). 406 has three causes that only differ in the sentence.
SENTENCES: dict[str, tuple[int, str]] = {
    "400": (400, "Invalid parameters or request format"),
    "401-missing": (401, "Missing required header: x-api-key"),
    "401": (401, "Invalid API key"),
    "402-credits": (402, "Insufficient credits"),
    "403": (403, "This account is not permitted to use this model"),
    "404": (404, "Model not found"),
    "405": (405, "Method Not Allowed"),
    "406-content-type": (406, "Unsupported Content-Type: application/json is required"),
    "406-credits": (406, "Insufficient credits to process this request"),
    "406-spend-limit": (406, "Team spend limit reached for this billing period"),
    # Not about money, although the words may suggest it.
    "406-loose": (406, "Prompt exceeds the maximum length limit; a white balance is not allowed"),
    "410": (410, "This model has been retired"),
    "422": (422, "Invalid request body"),
    "429": (429, "Rate limit exceeded"),
    "429-credits": (429, "Insufficient credits: add credits to continue"),
    "429-concurrency": (429, "Too many concurrent requests"),
    "500": (500, "Internal server error"),
    "502": (502, "Service temporarily unavailable"),
    "504": (504, "Request timed out"),
    "502-html": (502, "502 Bad Gateway"),
    "504-html": (504, "504 Gateway Time-out"),
    # Cloudflare's own, in front of the gateway. Only 521, 523, 525 and 526 prove that it was not reached.
    "520": (520, "Web server is returning an unknown error"),
    "521": (521, "Web server is down"),
    "522": (522, "Connection timed out"),
    "523": (523, "Origin is unreachable"),
    "524": (524, "A timeout occurred"),
    "525": (525, "SSL handshake failed"),
    "526": (526, "Invalid SSL certificate"),
    "527": (527, "Railgun Error"),
    "530": (530, "Origin DNS error"),
}

_AUTH_DESCRIPTIONS = {
    "401-missing": "Send your API key in the x-api-key header; bearer tokens are not accepted",
    "401": "The API key was rejected",
}


def error(status: int, sentence: str) -> web.Response:
    """`{"error": "<sentence>"}`, the format of nearly all errors."""
    return web.json_response({"error": sentence}, status=status)


def documented(name: str, sentence: str | None = None, reset_at: float = 0.0) -> web.Response:
    """The documented error with this name, optionally with another `sentence`. `reset_at` (Unix seconds) is for 429."""
    status, usual = SENTENCES[name]
    sentence = sentence or usual
    if name == "405" or name.endswith("-html"):
        return html(status, sentence)
    if status >= 520:
        return html(status, f"api.segmind.com | {status}: {sentence}")
    body: dict[str, Any] = {"error": sentence}
    if name in _AUTH_DESCRIPTIONS:
        body |= {"error_description": _AUTH_DESCRIPTIONS[name], "status_code": 401}
    headers = {"x-rate-limit-reset-at-utc": iso(reset_at)} if status == 429 else {}
    return web.json_response(body, status=status, headers=headers)


def html(status: int, title: str) -> web.Response:
    """An error page like that of a proxy or router."""
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return web.Response(text=page, status=status, content_type="text/html")


def iso(moment: float) -> str:
    """Unix seconds as ISO 8601 in UTC, to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
