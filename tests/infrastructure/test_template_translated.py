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

from tests.infrastructure.reading import resolved

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


def test_the_api_has_one_stage(translated: dict[str, Any]) -> None:
    (stage,) = (r for r in translated.values() if r["Type"] == "AWS::ApiGateway::Stage")
    assert stage["Properties"]["StageName"] == "v1"
    deployments = [r for r in translated.values() if r["Type"] == "AWS::ApiGateway::Deployment"]
    assert [deployment["Properties"].get("StageName") for deployment in deployments] == [None]


@pytest.fixture(scope="module")
def body(translated: dict[str, Any]) -> dict[str, Any]:
    (api,) = (r for r in translated.values() if r["Type"] == "AWS::ApiGateway::RestApi")
    return dict(api["Properties"]["Body"])


def test_every_route_needs_a_key(body: dict[str, Any]) -> None:
    assert body["openapi"] == "3.0.1"
    methods = [method for path in body["paths"].values() for method in path.values()]
    assert len(methods) == len(ROUTES)
    assert all(method["security"] == [{"api_key": []}] for method in methods)
    assert body["components"]["securitySchemes"]["api_key"] == {"type": "apiKey", "name": "x-api-key", "in": "header"}


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


def test_a_call_that_does_not_exist_is_told_where_all_are_described(body: dict[str, Any]) -> None:
    text = body["x-amazon-apigateway-gateway-responses"]["MISSING_AUTHENTICATION_TOKEN"]["responseTemplates"]
    named = re.findall(r"(GET|POST) (/[\w/{}.]+)", text["application/json"])
    assert {f"{method} {path}" for method, path in named} == {"GET /openapi.json"}
    assert {f"{method.upper()} {path}" for path, methods in body["paths"].items() for method in methods} == set(ROUTES)


def test_every_role_that_sam_makes_has_the_boundary(translated: dict[str, Any]) -> None:
    roles = [r["Properties"] for r in translated.values() if r["Type"] == "AWS::IAM::Role"]
    assert len(roles) == 13  # of eleven functions and two workflows
    for role in roles:
        assert resolved(role, ["HasBoundary"])["PermissionsBoundary"] == {"Ref": "PermissionsBoundaryArn"}
        assert "PermissionsBoundary" not in resolved(role, [])


def test_a_round_of_reconcile_is_dropped_after_a_minute(translated: dict[str, Any]) -> None:
    (config,) = (r["Properties"] for r in translated.values() if r["Type"] == "AWS::Lambda::EventInvokeConfig")
    assert (config["MaximumEventAgeInSeconds"], config["MaximumRetryAttempts"]) == (60, 0)
