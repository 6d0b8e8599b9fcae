"""Builds the description of the API (OpenAPI 3.1) and that of the models, as files that the API serves.

Requests: the parameters' schemas are those of the models that validate them (jobs.catalogue), and the query's are those
of its readers (rest.listing). Responses: the types that mypy checks the code against.

    python docs/openapi.py [--check]      (`make reference` writes, `make check` compares)
"""

import json
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import schemas  # type: ignore[import-not-found]  # beside this file
from seedance.jobs import catalogue
from seedance.rest import answers, batches, budget, documents, links, listing, timelines, uploads, views
from seedance.rest.estimates import Estimate
from seedance.rest.routes import ROUTES

Schema = dict[str, Any]
_ROOT = Path(__file__).parents[1]
BUILT = _ROOT / "layers/common/seedance/rest"

# calls --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """A call: what it is for, what it takes and what it answers."""

    name: str
    summary: str
    about: str
    answer: Any
    """The type of its successful answer, or the name of a schema."""
    status: int = 200
    body: str | None = None
    """The name of the schema of its body."""
    body_needed: bool = True
    refusals: tuple[int, ...] = ()
    headers: Mapping[str, Schema] = field(default_factory=dict)
    parameters: tuple[Schema, ...] = ()


_LENIENT = "Fields that are null count as not given. Numbers and booleans may also be text, as in tables."
_KEY = "Repeating a call with the same key returns the same job. Without one, each call creates a new video."
_RETRY = {
    "Retry-After": {
        "description": "Only for a job that is HELD: seconds until it may continue.",
        "schema": {"type": "integer", "minimum": 0},
    }
}
_LOCATION = {
    "Location": {
        "description": "The address of the job or batch, relative to this call's.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    }
}
_JOB_ID = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "description": "The id of a job.",
    "schema": {"type": "string", "minLength": 1},
}
_BATCH_ID = {
    "name": "batch_id",
    "in": "path",
    "required": True,
    "description": "The id of a batch.",
    "schema": {"type": "string", "minLength": 1},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": _KEY,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]*$"},
}


def _query(names: Iterable[str]) -> tuple[Schema, ...]:
    found = []
    for name in names:
        parameter = listing.PARAMETERS[name]
        described: Schema = {
            "name": name,
            "in": "query",
            "description": parameter.about,
            "schema": dict(parameter.schema),
        }
        if parameter.schema["type"] == "array":
            described |= {"style": "form", "explode": False}
        found.append(described)
    return tuple(found)


OPERATIONS: Mapping[str, Operation] = {
    "POST /videos": Operation(
        "createVideo",
        "Request a video",
        f"The job is accepted and waits for its turn at the provider. Its first state is RECEIVED. {_LENIENT}",
        views.Video,
        status=202,
        body="VideoRequest",
        refusals=(400, 409, 422, 500),
        headers={**_LOCATION, **_RETRY},
        parameters=(_IDEMPOTENCY_KEY,),
    ),
    "GET /videos": Operation(
        "listVideos",
        "List the jobs, newest first",
        f"A call reads at most 1000 jobs of those that `created_since` and `created_before` allow, and applies the "
        f"other filters to them. So a page may have fewer than `limit` jobs, or none, and still a `next_cursor`: "
        f"continue until it is null. Default `limit`: {listing.USUAL}. The list may lag by about a second.",
        listing.VideoList,
        refusals=(422,),
        parameters=_query(listing.PARAMETERS),
    ),
    "GET /videos/{job_id}": Operation(
        "getVideo",
        "Get a job",
        "Once its state is COMPLETED, with a new link to its video.",
        views.Video,
        refusals=(404, 500),
        headers=_RETRY,
        parameters=(_JOB_ID,),
    ),
    "POST /videos/{job_id}/cancel": Operation(
        "cancelVideo",
        "Cancel a job before it is bought",
        "Possible while its state is RECEIVED, or HELD for the budget or by a pause. Later, the answer is 409 with the "
        "code ALREADY_BOUGHT, and the video is delivered as usual. A job whose submit may have reached the provider "
        "can't be cancelled either. Repeating the call returns the same job.",
        views.Video,
        refusals=(404, 409, 500),
        parameters=(_JOB_ID,),
    ),
    "POST /videos/{job_id}/retry": Operation(
        "retryVideo",
        "Try an ended job again",
        "For a job that is FAILED or EXPIRED, or HELD with a result that is unclear. Without `pay`, a known result is "
        "copied again, or the provider's history is searched for it, at no cost; if it must be bought again, the "
        "answer is 409 with the code NEEDS_PAYMENT and `estimate_usd`. With `pay`, the video is bought again if there "
        "is nothing to copy, within the day's budget and `max_usd`. A result is copied again once, and not after the "
        "seven days for which the provider keeps it. It is carried out within seconds; `retry` in the "
        "job's response gives the outcome. Repeating the call while the job is waiting or in progress changes nothing.",
        views.Video,
        status=202,
        body="RetryRequest",
        body_needed=False,
        refusals=(400, 404, 409, 422, 500),
        headers={**_LOCATION, **_RETRY},
        parameters=(_JOB_ID,),
    ),
    "GET /videos/{job_id}/timeline": Operation(
        "getTimeline",
        "What happened to a job",
        "The states of a job, each with the time when it was last entered, and each reason for which it waited, was "
        "held or ended. `seedance explain` shows the same, with the job's executions and the provider's history.",
        timelines.Timeline,
        refusals=(404, 500),
        parameters=(_JOB_ID,),
    ),
    "POST /videos/{job_id}/link": Operation(
        "makeLink",
        "Create a lasting link to a video",
        "People open it without a key, for `VideoLinkDays`. Every finished video gets one automatically. A video whose "
        "link still works keeps it.",
        links.VideoLink,
        refusals=(404, 409, 500),
        parameters=(_JOB_ID,),
    ),
    "DELETE /videos/{job_id}/link": Operation(
        "withdrawLink",
        "Revoke a video's lasting link",
        "It stops working at once and for good, including in mails and results. Someone who has just opened it can "
        "still load the video for 15 minutes. If the video has no link, nothing changes.",
        links.VideoLink,
        refusals=(404, 409, 500),
        parameters=(_JOB_ID,),
    ),
    "POST /uploads": Operation(
        "prepareUpload",
        "Get a form for uploading an image or a manifest",
        "A program or web page sends the form to S3, without AWS credentials. The upload itself starts nothing: name "
        "its `image_key` in POST /videos. It is deleted after 30 days.",
        uploads.UploadForm,
        body="UploadRequest",
        refusals=(400, 422),
    ),
    "POST /estimates": Operation(
        "estimateVideo",
        "Estimate a video's price and duration",
        f"Nothing is bought, reserved or stored. {_LENIENT}",
        Estimate,
        body="EstimateRequest",
        refusals=(400, 422),
    ),
    "GET /budget": Operation(
        "getBudget",
        "Get the day's budget, the pause, and what is waiting",
        "Amounts are those of the UTC day.",
        budget.Budget,
    ),
    "POST /pause": Operation(
        "pause",
        "Stop new submits",
        "New jobs are HELD. Videos in progress at the provider are still polled and copied. If submits are paused "
        "already, nothing changes, and the answer has the reason of that pause.",
        budget.PauseState,
        body="PauseRequest",
        body_needed=False,
        refusals=(400, 422),
    ),
    "POST /resume": Operation(
        "resume",
        "Allow submits again",
        "The jobs that were held in the meantime are submitted within about five minutes.",
        budget.PauseState,
    ),
    "POST /batches": Operation(
        "planBatch",
        "Check a manifest before its approval",
        "Every row is checked and estimated, and nothing is bought: the batch stops at PLANNED, and is approved with "
        "another call within seven days. With `approve`, it continues at once, like a manifest that is uploaded under "
        "`batches/`. A version of a manifest is one batch: repeating the call returns it as it stands.",
        batches.Batch,
        status=202,
        body="BatchRequest",
        refusals=(400, 409, 422, 500),
        headers=_LOCATION,
    ),
    "GET /batches": Operation(
        "listBatches",
        "List the batches, newest first",
        "Also those of manifests under `batches/`, but none of release 0.1.0.",
        batches.BatchList,
        refusals=(422,),
        parameters=_query(batches.LIST_PARAMETERS),
    ),
    "GET /batches/{batch_id}": Operation(
        "getBatch",
        "Get a batch",
        f"The rows by state, estimate and costs, invalid rows, and links to its files. In a batch of up to "
        f"{batches.LIVE_ROWS} rows, the jobs are counted at each call; in a larger one, `states` is what was counted "
        "last, at `counted_at`. `GET /videos?batch=…` lists the jobs.",
        batches.Batch,
        refusals=(404, 500),
        parameters=(_BATCH_ID,),
    ),
    "POST /batches/{batch_id}/approve": Operation(
        "approveBatch",
        "Buy a planned batch",
        "Its rows become jobs, as they were planned. If it was approved before, nothing changes. `budget_note` says if "
        "the estimate exceeds the day's budget.",
        batches.Batch,
        refusals=(404, 409, 500),
        parameters=(_BATCH_ID,),
    ),
    "POST /batches/{batch_id}/cancel": Operation(
        "cancelBatch",
        "Stop a batch",
        "Every row that is not bought yet is cancelled: no more rows become jobs, and jobs that are RECEIVED, or HELD "
        "for the budget or by a pause, become CANCELLED. Videos that are bought continue; when they have ended, the "
        "results are written. If it was cancelled before, nothing else changes.",
        batches.Batch,
        refusals=(404, 409, 500),
        parameters=(_BATCH_ID,),
    ),
    "GET /models": Operation(
        "listModels",
        "The models and their parameters",
        "Parameters are JSON Schema. Averages are the provider's, for one video, whatever its settings.",
        "Models",
    ),
    "GET /openapi.json": Operation("getDescription", "This description", "OpenAPI 3.1.", "Description"),
}

_EVERYWHERE = {"GET": (403, 429), "POST": (403, 413, 415, 429), "DELETE": (403, 429)}
"""What the gateway may answer by itself."""

SAYS = {
    400: "The body is not the JSON that the call needs, is over 256 KB, has over 20 levels, or repeats a name.",
    403: "The API key is missing or wrong.",
    404: "There is no such job or batch, or no such call.",
    409: "The Idempotency-Key was used with another body, or the state of the job or batch does not allow the call: "
    "`code` says why.",
    413: "The body is larger than 10 MB.",
    415: "The body is not compressed as Content-Encoding says.",
    422: "A value is not allowed: `field` names it, and `allowed` says what is.",
    429: "Too many calls at once. Repeat the call after the time in `Retry-After`.",
    500: "The job's record was edited and can't be read. `field` names the value.",
}
SAYS_5XX = "The call could not be answered. Repeat it, with the same Idempotency-Key if any."


def _problem(words: str, **more: Any) -> Schema:
    content = {answers.PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": words, **more, "content": content}


def _operation(method: str, of: Operation, components: schemas.Components) -> Schema:
    found = {"$ref": f"#/components/schemas/{of.answer}"} if isinstance(of.answer, str) else components.of(of.answer)
    success: Schema = {"description": of.summary, "content": {answers.JSON: {"schema": found}}}
    if of.headers:
        success["headers"] = dict(of.headers)
    responses = {str(of.status): success}
    wait = {"Retry-After": {"required": True, "schema": {"type": "integer"}}}
    for status in sorted({*of.refusals, *_EVERYWHERE[method]}):
        responses[str(status)] = _problem(SAYS[status], **({"headers": wait} if status == 429 else {}))
    responses["5XX"] = _problem(SAYS_5XX)
    described: Schema = {"operationId": of.name, "summary": of.summary, "description": of.about}
    if of.parameters:
        described["parameters"] = list(of.parameters)
    if of.body:
        schema = {"$ref": f"#/components/schemas/{of.body}"}
        described["requestBody"] = {"required": of.body_needed, "content": {answers.JSON: {"schema": schema}}}
    return {**described, "responses": responses}


def models() -> Schema:
    """What GET /models answers."""
    return {"models": catalogue.describe()}


def openapi() -> Schema:
    """The description of the API."""
    if tuple(OPERATIONS) != ROUTES:
        raise SystemExit("docs/openapi.py describes other calls than rest/routes.py has")
    components = schemas.Components()
    schemas.of_requests(components)
    schemas.of_uploads(components)
    schemas.of_models(components)
    components.of(answers.Problem)
    paths: dict[str, Schema] = {}
    for route, operation in OPERATIONS.items():
        method, path = route.split()
        paths.setdefault(path, {})[method.lower()] = _operation(method, operation, components)
    version = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Seedance pipeline",
            "version": version,
            "description": "Turns product images and prompts into videos. One stack is one team: every key sees every "
            "job. Times are ISO 8601 in UTC, amounts are USD. Errors are problems as in RFC 9457.",
        },
        "servers": [{"url": "/v1", "description": "The stage of the API; see the stack's output ApiUrl."}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}},
            "schemas": dict(sorted(components.schemas.items())),
        },
    }


def built() -> Iterator[tuple[Path, str]]:
    """The files and their texts."""
    for name, content in ((documents.OPENAPI, openapi()), (documents.MODELS, models())):
        yield BUILT / name, json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files, or only compare them."""
    for path, text in built():
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            raise SystemExit(f"{path.relative_to(_ROOT)} is not what the code says; run: make reference")


if __name__ == "__main__":
    main()
