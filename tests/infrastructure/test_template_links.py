"""House rules for template.yaml: lasting links, forms for uploads, and a domain of one's own."""

import re
from typing import Any

import pytest
from seedance.aws.table import link_key
from seedance.jobs.prefixes import POSTED_IMAGES, STAGED

from tests.infrastructure.reading import as_list, of_type, resolved, statements


def test_clicks_on_links_need_no_key_and_have_an_api_of_their_own(
    resources: dict[str, Any], functions: dict[str, Any]
) -> None:
    assert resources["LinkApi"]["Properties"]["Auth"] == {"ApiKeyRequired": False}
    events = [event["Properties"] for event in functions["watch"]["Events"].values()]
    assert [(event["Path"], event["Method"]) for event in events] == [("/{token}", "get"), ("/{token}", "head")]
    assert all(event["RestApiId"] == {"Ref": "LinkApi"} for event in events)
    (throttle,) = resources["LinkApi"]["Properties"]["MethodSettings"]
    assert (throttle["ResourcePath"], throttle["HttpMethod"]) == ("/*", "*")
    assert 0 < throttle["ThrottlingRateLimit"] < throttle["ThrottlingBurstLimit"] < 100
    assert resources["LinkApi"]["Properties"]["TracingEnabled"] is False  # a trace has the path, and so the token


def test_the_function_for_clicks_reads_links_and_videos_only(functions: dict[str, Any]) -> None:
    read, sign = statements(functions["watch"]["Policies"])
    assert read["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [link_key("*")]}}
    assert (read["Action"], sign["Action"]) == ("dynamodb:GetItem", "s3:GetObject")
    assert sign["Resource"] == {"Fn::Sub": "${VideoBucket.Arn}/videos/*"}
    assert "Environment" not in functions["watch"]


def test_forms_are_signed_for_two_folders_that_start_nothing(functions: dict[str, Any]) -> None:
    (allowed,) = (s for s in statements(functions["api"]["Policies"]) if "s3:PutObject" in as_list(s["Action"]))
    assert allowed["Action"] == "s3:PutObject"
    assert allowed["Resource"] == [
        {"Fn::Sub": f"${{UploadBucket.Arn}}/{prefix}*"} for prefix in (POSTED_IMAGES, STAGED)
    ]


def test_every_function_that_shows_links_has_the_same_address(resources: dict[str, Any]) -> None:
    bases = {
        name.removesuffix("Function"): properties["Environment"]["Variables"]["LINK_BASE"]
        for name, properties in of_type(resources, "AWS::Serverless::Function").items()
        if "LINK_BASE" in properties.get("Environment", {}).get("Variables", {})
    }
    assert set(bases) == {"Api", "Collect", "Fail", "Finalize", "Plan", "Reconcile", "Repair", "Submit"}
    own, on_aws, local = (resolved(bases["Api"], true) for true in (["HasDomain", "OnAws"], ["OnAws"], []))
    assert all(base == bases["Api"] for base in bases.values())
    assert own == {"Fn::Sub": "https://${DomainName}/w"}
    assert on_aws == {"Fn::Sub": "https://${LinkApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/w"}
    assert local == {"Fn::Sub": "${LocalAddress}/_aws/execute-api/${LinkApi}/w"}


def test_a_domain_of_ones_own_serves_both_apis(template: dict[str, Any]) -> None:
    resources = template["Resources"]
    assert {name for name, r in resources.items() if r.get("Condition") == "HasDomain"} == {
        *("Domain", "DomainLinks", "DomainApi")
    }
    assert template["Outputs"]["DomainTarget"]["Condition"] == "HasDomain"
    domain = resources["Domain"]["Properties"]
    assert (domain["SecurityPolicy"], domain["EndpointConfiguration"]) == ("TLS_1_2", {"Types": ["REGIONAL"]})
    for name, base, api in (("DomainLinks", "w", "LinkApi"), ("DomainApi", "v1", "Api")):
        mapping = resources[name]["Properties"]
        assert (mapping["BasePath"], mapping["RestApiId"]) == (base, {"Ref": api})
        assert mapping["Stage"] == resources[api]["Properties"]["StageName"] == base
        assert resources[name]["DependsOn"] == f"{api}{base}Stage"
    assert template["Parameters"]["DomainName"]["Default"] == ""


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        (
            "DomainName",
            ["", "videos.example.com", "a.b-c.de"],
            ["videos", "https://a.b", "A.b", "a..b", "-a.de", "a.b/c"],
        ),
        (
            "ConsoleOrigins",
            ["*", "https://a.example", "http://127.0.0.1:4566,https://b.example"],
            ["", "*,https://a", "a.b"],
        ),
        (
            "DomainCertificateArn",
            ["", "arn:aws:acm:eu-central-1:123456789012:certificate/ab-12"],
            ["x", "arn:aws:iam::1:a"],
        ),
        (
            "LocalAddress",
            ["", "http://127.0.0.1:4566"],
            ["http://a.example", "https://127.0.0.1:1", "http://127.0.0.1"],
        ),
    ],
)
def test_an_address_is_checked_before_it_is_used(
    template: dict[str, Any], parameter: str, good: list[str], bad: list[str]
) -> None:
    pattern = template["Parameters"][parameter]["AllowedPattern"]
    assert all(re.fullmatch(pattern, text) for text in good)
    assert not any(re.fullmatch(pattern, text) for text in bad)
