"""The API's description: built from the code, valid, complete, and kept in the repository."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from described import description, validator
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from seedance.errors import InvalidRequest
from seedance.jobs import catalogue, requests
from seedance.jobs.defaults import Defaults
from seedance.rest import budget, uploads
from seedance.rest.answers import TITLES
from seedance.rest.routes import ROUTES
from variables import variables

DEFAULTS = Defaults("seedance-1.0-pro-fast", "The camera moves slowly.", "v2")


@pytest.fixture(scope="module")
def builder(root: Path) -> ModuleType:
    sys.path.insert(0, str(root / "docs"))
    spec = importlib.util.spec_from_file_location("openapi", root / "docs/openapi.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def operations() -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in description()["paths"].items()
        for method, operation in methods.items()
    }


def test_the_files_are_what_the_code_says(builder: ModuleType) -> None:
    built = dict(builder.built())
    assert {path.name for path in built} == {path.name for path in builder.BUILT.glob("*.json")}
    for path, text in built.items():
        assert path.read_text() == text, f"{path.name}: run make reference"


def test_it_is_valid_openapi_3_1() -> None:
    assert description()["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(description()).iter_errors()] == []
    for name, schema in description()["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)


def test_it_has_the_calls_that_the_api_has(functions: dict[str, Any]) -> None:
    events = [event["Properties"] for event in functions["api"]["Events"].values()]
    assert {f"{event['Method'].upper()} {event['Path']}" for event in events} == set(ROUTES)
    assert set(operations()) == set(ROUTES)
    assert len({operation["operationId"] for operation in operations().values()}) == len(ROUTES)


def test_every_call_needs_the_key() -> None:
    assert description()["security"] == [{"key": []}]
    assert description()["components"]["securitySchemes"]["key"]["name"] == "x-api-key"
    assert not any("security" in operation for operation in operations().values())


def test_every_schema_is_referred_to() -> None:
    text = json.dumps(description())
    for name in description()["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text, name


def test_every_property_of_a_request_and_every_parameter_is_described() -> None:
    schemas = description()["components"]["schemas"]
    for name in ("VideoRequest", "EstimateRequest", "PauseRequest", "UploadRequest", "BatchRequest"):
        assert all(schema["description"] for schema in schemas[name]["properties"].values())
    for operation in operations().values():
        assert operation["summary"]
        assert all(parameter["description"] for parameter in operation.get("parameters", []))


def test_what_the_gateway_answers_by_itself_is_described(resources: dict[str, Any]) -> None:
    seen = set()
    for name, answer in resources["Api"]["Properties"]["GatewayResponses"].items():
        template = answer["ResponseTemplates"]["application/json"]
        body = json.loads(template.replace("$context.error.messageString", '"words"'))
        assert list(validator("/components/schemas/Problem").iter_errors(body)) == [], name
        if not name.startswith("DEFAULT"):
            assert body["title"] == TITLES[answer["StatusCode"]]
            seen.add(str(answer["StatusCode"]))
        assert ("Retry-After" in answer["ResponseParameters"]["Headers"]) is (answer.get("StatusCode") == 429)
    assert seen == {"403", "404", "413", "415", "429"}
    for route, operation in operations().items():
        assert {"403", "429", "5XX"} <= set(operation["responses"]), route
        for status in ("413", "415"):
            assert (status in operation["responses"]) is route.startswith("POST")


TOGETHER = ("image_url", "first_frame_url", "last_frame_url", "reference_videos", "reference_audios")
"""Parameters that are allowed or not depending on others."""


# requests -------------------------------------------------------------------------------------------------------------


def valid(schema: str, body: object) -> bool:
    return bool(validator(f"/components/schemas/{schema}").is_valid(body))


def accepted(body: object, *, prompt_needed: bool = True) -> bool:
    try:
        requests.api_request(json.dumps(body), DEFAULTS, prompt_needed=prompt_needed)
    except InvalidRequest:
        return False
    return True


def bodies() -> list[dict[str, Any]]:
    """Bodies with each listed value of each parameter of each model, and with values just inside and outside."""
    found: list[dict[str, Any]] = []
    for slug, model in catalogue.MODELS.items():
        for name, schema in model.parameters.model_json_schema()["properties"].items():
            of = next((one for one in schema.get("anyOf", []) if one["type"] != "null"), schema)
            values: list[Any] = [*of.get("enum", []), "nonsense", {"a": 1}, 3.7]
            values += [of[end] + step for end in ("minimum", "maximum") if end in of for step in (-1, 0, 1)]
            if of.get("type") == "string" and "enum" not in of:
                address = "https://a.example/b.png"
                values = [address, "x" * (of["maxLength"] + 1), "", 5] if of.get("format") else ["x", 5]
            if of.get("type") == "boolean":
                values = [True, False, "maybe", 2]
            if of.get("type") == "array":
                values = [["https://a.example/b.png"] * (of["maxItems"] + more) for more in (0, 1)]
            found += [
                {"model": slug, "prompt": "x", "parameters": {name: value}} for value in values if name != "prompt"
            ]
        found.append({"model": slug, "parameters": {"prompt": "x"}})
        found += [{"model": slug, "prompt": "x", "transport": transport} for transport in ("v1", "v2", "v3")]
    found += [{"prompt": "x", "image": "https://a.example/b.png"}, {"prompt": "x" * 5000}, {"prompt": "x" * 5001}]
    found += [{"prompt": "x", "image": "ftp://a.example/b.png"}, {"prompt": "x", "model": "seedance-9"}]
    found += [{}, {"prompt": ""}, {"prompt": 5}, {"prompt": "x", "promt": "y"}, {"prompt": "x", "duration": 5}]
    found += [{"prompt": "x", "parameters": {"prompt": text}} for text in ("x", "y", "")]
    found += [
        {"prompt": "x", "parameters": []},
        {"prompt": "x", "parameters": {}},
        {"prompt": "x", "image_key": "images/a"},
    ]
    labels = [{"name": name} for name in ("Red shoe", "", "a/b", "a\\b", ".a", "a\nb", "x" * 101, 5, "ü👟")]
    labels += [{"metadata": pairs} for pairs in ({}, {"sku": "S-1"}, {"sku": 5}, {"": "x"}, {"x" * 65: "x"}, ["sku"])]
    labels += [{"metadata": {f"n{number}": "" for number in range(count)}} for count in (20, 21)]
    labels += [{"metadata": {"sku": "x" * length}} for length in (256, 257)]
    labels += [{"metadata": pairs} for pairs in ({"a\nb": "c\td"}, {"a\x00b": "c"}, {"a": "b\x1fc"}, {"a": "\x7f"})]
    found += [{"prompt": "x", **label} for label in labels]
    return [body for body in found if not _depends_on_another(body)]


def _depends_on_another(body: dict[str, Any]) -> bool:
    """Whether a rule about two parameters decides. An empty address counts as none."""
    ((name, value),) = (body.get("parameters") or {"": None}).items()
    return name in TOGETHER and (value == "" or valid("VideoRequest", body))


@pytest.mark.parametrize("body", bodies(), ids=lambda body: json.dumps(body)[:100])
def test_what_is_described_is_accepted_and_the_rest_refused(body: dict[str, Any]) -> None:
    assert valid("VideoRequest", body) is accepted(body)


@pytest.mark.parametrize("body", [{}, {"parameters": {"duration": 10}}, {"model": "seedance-pro"}, {"prompt": "x"}])
def test_an_estimate_needs_no_prompt(body: dict[str, Any]) -> None:
    assert valid("EstimateRequest", body)
    assert accepted(body, prompt_needed=False)
    assert valid("VideoRequest", body) is accepted(body)


@pytest.mark.parametrize("reason", ["prices", " x ", "x" * 500, None, "", " ", "x" * 501, "a\nb", 5, [], {}])
def test_the_reason_of_a_pause_is_as_described(reason: object) -> None:
    try:
        budget._reason(json.dumps({"reason": reason}))
        taken = True
    except InvalidRequest:
        taken = False
    assert valid("PauseRequest", {"reason": reason}) is taken


@pytest.mark.parametrize("alias", catalogue.COMMON_NAMES)
def test_the_names_that_all_models_understand_are_described(alias: str) -> None:
    value = {"audio": True, "generate_audio": True, "ratio": "1:1", "aspect_ratio": "1:1"}.get(
        alias, "https://a.example/"
    )
    for slug, model in catalogue.MODELS.items():
        parameters = {alias: value}
        if "last" in alias:
            parameters[model.parameters.first_image] = "https://a.example/"
        body = {"model": slug, "prompt": "x", "parameters": parameters}
        assert valid("VideoRequest", body) is accepted(body), slug


@pytest.mark.parametrize(
    "body",
    [
        *({"name": f"a.{ending}"} for ending in (*uploads.KINDS, "PNG", "Jpeg", "gif", "", "png ")),
        *({"name": "a.png", "bytes": size} for size in (0, 1, 5.0, 5.5, 31457280, 31457281, "5", True, None)),
        *({"name": "a.csv", "bytes": size} for size in (31457281, 524288000, 524288001)),
        *({"name": name} for name in ("", ".png", "b/.png", "x" * 251 + ".png", "x" * 252 + ".png", "a\x00.png", 5)),
        *({}, {"name": "a.png", "size": 5}, [], "a.png"),
    ],
    ids=lambda body: json.dumps(body)[:60],
)
def test_an_upload_is_described(body: Any) -> None:
    try:
        signer: Any = SimpleNamespace(generate_presigned_post=lambda *_, **__: {"url": "", "fields": {}})
        uploads.Uploads("bucket", signer).form(json.dumps(body))
        refused = False
    except InvalidRequest:
        refused = True
    assert valid("UploadRequest", body) is not refused


# cold starts ----------------------------------------------------------------------------------------------------------

READS = """
import json, sys
sys.path[:0] = sys.argv[1:]
from types import SimpleNamespace
from seedance.aws import clients, job_table
from seedance import config
item = json.loads(sys.stdin.read())
batch = {name: {"S": text} for name, text in {
    "job_id": "batch#batch-1", "batch_id": "batch-1", "standing": "DONE", "bucket": "u", "key": "batches/a.csv",
    "results_key": "batches/a.results.csv",
}.items()}
items = {each["job_id"]["S"]: {"Item": each} for each in (item, batch)}
client = SimpleNamespace(
    get_item=lambda **params: items.get(params["Key"]["job_id"]["S"], {}),
    batch_get_item=lambda **_: {"Responses": {"jobs": [batch]}},
    query=lambda **params: {"Items": [item], "ScannedCount": 1, "Count": 1},
    get_paginator=lambda _: SimpleNamespace(paginate=lambda **_: [{"Count": 1}]),
    generate_presigned_url=lambda *_, **__: "https://link/",
)
clients._client = lambda _: client
from seedance.api import api
for resource, path in (
    ("/videos", None), ("/videos/{job_id}", {"job_id": "up-1"}), ("/videos/{job_id}/timeline", {"job_id": "up-1"}),
    ("/budget", None), ("/models", None),
    ("/openapi.json", None), ("/batches", None), ("/batches/{batch_id}", {"batch_id": "batch-1"}),
):
    answer = api().respond({"httpMethod": "GET", "resource": resource, "pathParameters": path})
    assert answer["statusCode"] == 200, answer
print(sorted({"pydantic", "httpx", "boto3"} & sys.modules.keys()))
"""


def test_calls_that_read_load_no_pydantic(root: Path, template: dict[str, Any]) -> None:
    """Pydantic alone takes 0.06 s of a cold start."""
    given = {
        **{"JOB_TABLE": "jobs", "UPLOAD_BUCKET": "u", "VIDEO_BUCKET": "v", "NOTIFICATION_TOPIC": "t"},
        **{"SEGMIND_API_KEY_SECRET": "s", "STATE_MACHINE": "m", "BATCH_STATE_MACHINE": "m", "INTAKE_QUEUE": "q"},
        **dict.fromkeys(("DEAD_LETTER_QUEUE", "WEBHOOK_QUEUE", "WEBHOOK_DEAD_LETTER_QUEUE"), "q"),
        **{"ANNOUNCE_DEAD_LETTER_QUEUE": "q", "WEBHOOKS": "no", "LINK_BASE": "https://links.example/w"},
        **dict.fromkeys(("UPLOAD_ORIGIN", "VIDEO_ORIGIN"), "https://b.example"),
    }
    texts = {"job_id": "up-1", "state": "COMPLETED", "source": "api", "name": "n", "folder": "f", "model": "m"}
    item = {name: {"S": text} for name, text in {**texts, "transport": "v2", "month": "2026-11"}.items()}
    item |= {name: {"N": "1763600000"} for name in ("created_at", "updated_at")}
    video = {"bucket": {"S": "v"}, "key": {"S": "videos/f/up-1.mp4"}, "sha256": {"S": "ab"}, "bytes": {"N": "7"}}
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", READS, str(root / "layers/common")],
        input=json.dumps({**item, "video": {"M": video}}),
        env={**variables(template, given), "POWERTOOLS_SERVICE_NAME": "tests", "AWS_DEFAULT_REGION": "eu-central-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr
