"""What SAM makes of template.yaml: the API's stage, its own responses, the roles."""

import copy
import json
import re
from typing import Any

import pytest
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]
from seedance.rest import answers
from seedance.rest.routes import ROUTES
from seedance.watch import PAGE_HEADERS

from tests.infrastructure.reading import resolved

KEYLESS = {"GET /", "HEAD /", "GET /web/{file}", "HEAD /web/{file}"}
"""What the API answers without a key: the console's page and its files. Otherwise only LinkApi does, for a video."""

SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:segmind-AbCdEf"


@pytest.fixture(scope="module")
def translated(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The resources that CloudFormation gets. SAM wants code in a bucket, as `sam deploy` puts it there."""
    packaged = copy.deepcopy(template)
    for resource in packaged["Resources"].values():
        for name in ("CodeUri", "ContentUri", "DefinitionUri"):
            if name in resource.get("Properties", {}):
                resource["Properties"][name] = "s3://bucket/key"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        made = Translator({}, Parser()).translate(packaged, {"SegmindApiKeySecretArn": SECRET})
    return dict(made["Resources"])


def test_each_api_has_one_stage(translated: dict[str, Any]) -> None:
    stages = [r["Properties"] for r in translated.values() if r["Type"] == "AWS::ApiGateway::Stage"]
    found = {stage["RestApiId"]["Ref"]: (stage["StageName"], stage["TracingEnabled"]) for stage in stages}
    assert found == {"Api": ("v1", True), "LinkApi": ("w", False)}
    deployments = [r for r in translated.values() if r["Type"] == "AWS::ApiGateway::Deployment"]
    assert [deployment["Properties"].get("StageName") for deployment in deployments] == [None, None]


@pytest.fixture(scope="module")
def body(translated: dict[str, Any]) -> dict[str, Any]:
    return dict(translated["Api"]["Properties"]["Body"])


def test_every_route_but_the_consoles_needs_a_key(body: dict[str, Any]) -> None:
    assert body["openapi"] == "3.0.1"
    keyless = {
        f"{name.upper()} {path}"
        for path, methods in body["paths"].items()
        for name, method in methods.items()
        if method["security"] != [{"api_key": []}]
    }
    assert keyless == KEYLESS
    assert all(method["security"] == [] for path in ("/", "/web/{file}") for method in body["paths"][path].values())
    assert body["components"]["securitySchemes"]["api_key"] == {"type": "apiKey", "name": "x-api-key", "in": "header"}


def test_no_click_on_a_link_needs_a_key(translated: dict[str, Any]) -> None:
    body = translated["LinkApi"]["Properties"]["Body"]
    assert {path: set(methods) for path, methods in body["paths"].items()} == {"/{token}": {"get", "head"}}
    assert all(method.get("security") in (None, []) for method in body["paths"]["/{token}"].values())


@pytest.mark.parametrize(
    ("kind", "status", "text"),
    [
        ("MISSING_AUTHENTICATION_TOKEN", "404", "There is no video here"),
        ("RESOURCE_NOT_FOUND", "404", "There is no video here"),
        ("THROTTLED", "429", "a few seconds"),
        ("DEFAULT_4XX", None, "later"),
        ("DEFAULT_5XX", None, "later"),
    ],
)
def test_visitors_see_pages_of_the_gateway_too(
    translated: dict[str, Any], kind: str, status: str | None, text: str
) -> None:
    body = translated["LinkApi"]["Properties"]["Body"]
    response = body["x-amazon-apigateway-gateway-responses"][kind]
    page = response["responseTemplates"]["application/json"]
    assert response.get("statusCode") == status
    assert page.startswith("<!doctype html>")
    assert text in page
    assert "$" not in page
    sent = {
        name.removeprefix("gatewayresponse.header."): value for name, value in response["responseParameters"].items()
    }
    wanted = ("Cache-Control", "Referrer-Policy", "X-Content-Type-Options", "Content-Type")
    assert {name: sent[name] for name in wanted} == {name: f"'{PAGE_HEADERS[name]}'" for name in wanted}
    assert ("Retry-After" in sent) is (kind == "THROTTLED")


def test_no_resource_needs_itself(translated: dict[str, Any]) -> None:
    """CloudFormation refuses circular dependencies; the emulator does not."""
    left = {name: needs(resource, set(translated)) - {name} for name, resource in translated.items()}
    while free := {name for name, others in left.items() if not others & set(left)}:
        left = {name: others for name, others in left.items() if name not in free}
    assert left == {}


def needs(value: Any, names: set[str]) -> set[str]:
    """The resources that a part of a template refers to."""
    if isinstance(value, dict):
        found = set().union(*(needs(each, names) for each in value.values()))
        if "Ref" in value:
            found.add(value["Ref"])
        if "Fn::GetAtt" in value:
            found.add(
                value["Fn::GetAtt"][0] if isinstance(value["Fn::GetAtt"], list) else value["Fn::GetAtt"].split(".")[0]
            )
        if "Fn::Sub" in value:
            text = value["Fn::Sub"] if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"][0]
            found |= set(re.findall(r"\$\{(\w+)", text))
        depends = value.get("DependsOn", [])
        found |= set([depends] if isinstance(depends, str) else depends)
        return found & names
    if isinstance(value, list):
        return set().union(*(needs(each, names) for each in value)) & names
    return set()


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("INVALID_API_KEY", 403, "FORBIDDEN"),
        ("MISSING_AUTHENTICATION_TOKEN", 404, "NOT_FOUND"),
        ("RESOURCE_NOT_FOUND", 404, "NOT_FOUND"),
        ("REQUEST_TOO_LARGE", 413, "TOO_LARGE"),
        ("UNSUPPORTED_MEDIA_TYPE", 415, "UNSUPPORTED_ENCODING"),
        ("THROTTLED", 429, "TOO_MANY_REQUESTS"),
        ("QUOTA_EXCEEDED", 429, "TOO_MANY_REQUESTS"),
        ("DEFAULT_4XX", None, "UNAUTHORIZED"),
        ("DEFAULT_5XX", None, "UNAVAILABLE"),
    ],
)
def test_the_gateways_own_responses_look_like_the_apis(
    body: dict[str, Any], kind: str, status: int | None, code: str
) -> None:
    response = body["x-amazon-apigateway-gateway-responses"][kind]
    assert response.get("statusCode") == (str(status) if status else None)
    text = response["responseTemplates"]["application/json"]
    # The gateway's two variables, as it fills them in: messageString is already in quotes.
    text = text.replace("$context.error.messageString", '"Unauthorized"')
    text = text.replace("$context.error.responseType", "UNAUTHORIZED")
    assert "$" not in text
    problem = json.loads(text)
    assert (problem["code"], problem.get("status")) == (code, status)
    ours = json.loads(answers.problem(404, "x", "NOT_FOUND")["body"])
    assert set(problem) - {"field", "allowed"} == set(ours) - ({"status"} if status is None else set())
    assert problem["error"] == {"message": problem["detail"], "code": code}
    sent = response["responseParameters"]
    assert sent["gatewayresponse.header.Content-Type"] == f"'{answers.PROBLEM_JSON}'"


def test_a_call_that_does_not_exist_gets_a_link_to_the_description(body: dict[str, Any]) -> None:
    text = body["x-amazon-apigateway-gateway-responses"]["MISSING_AUTHENTICATION_TOKEN"]["responseTemplates"]
    named = re.findall(r"(GET|POST) (/[\w/{}.]+)", text["application/json"])
    assert {f"{method} {path}" for method, path in named} == {"GET /openapi.json"}
    known = {f"{method.upper()} {path}" for path, methods in body["paths"].items() for method in methods}
    assert known == {*ROUTES, *KEYLESS}


def test_every_role_that_sam_makes_has_the_boundary(translated: dict[str, Any]) -> None:
    roles = [r["Properties"] for r in translated.values() if r["Type"] == "AWS::IAM::Role"]
    assert len(roles) == 17  # of fifteen functions and two workflows
    for role in roles:
        assert resolved(role, ["HasBoundary"])["PermissionsBoundary"] == {"Ref": "PermissionsBoundaryArn"}
        assert "PermissionsBoundary" not in resolved(role, [])


def test_a_round_of_reconcile_is_dropped_after_a_minute(translated: dict[str, Any]) -> None:
    (config,) = (r["Properties"] for r in translated.values() if r["Type"] == "AWS::Lambda::EventInvokeConfig")
    assert (config["MaximumEventAgeInSeconds"], config["MaximumRetryAttempts"]) == (60, 0)
