"""Each function may make the calls that it makes, and no others: a proof by comparison, without an account.

The calls are those of ``calls.json`` (see ``tests/calls_to_aws.py``), the permissions those of template.yaml.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import pytest
from calls_to_aws import PREFIXES, Seen, committed
from seedance.aws import table
from seedance.batches import manifest
from seedance.jobs import job, requests
from seedance.jobs.prefixes import POSTED_IMAGES, STAGED

OWN_PREFIXES = frozenset({"plans", "batches"})
"""Prefixes of the upload bucket that the pipeline itself writes. Everything else there may be an image of a caller."""

_ANY_KEY = "a batch's row may name an image anywhere in the bucket, also beside a manifest; manifests are denied"

TOO_MUCH = {
    ("generate", "LookAtUploads: s3:GetObject on UploadBucket/*"): "only for an image without a version",
    ("api", "LookAtUploads: s3:GetObjectVersion on UploadBucket/*"): "shared with submit and generate, which need it",
    ("submit", "LookAtUploads: s3:GetObject on UploadBucket/* covers batches/"): _ANY_KEY,
    ("submit", "LookAtUploads: s3:GetObjectVersion on UploadBucket/* covers batches/"): _ANY_KEY,
    ("generate", "LookAtUploads: s3:GetObjectVersion on UploadBucket/* covers batches/"): _ANY_KEY,
    **{
        ("announce", what): "Lambda makes this call for the event source mapping, with the function's role"
        for what in (
            "ReadStream: dynamodb:DescribeStream on JobTable/stream",
            "ListStreams: dynamodb:ListStreams on JobTable/stream/*",
            "ReportFailures: sqs:SendMessage on AnnounceDeadLetterQueue",
        )
    },
}
"""Permissions that no call needs, by function, and why they stay."""


class Grant(NamedTuple):
    """What one statement allows: one action on one resource."""

    sid: str
    action: str
    resource: str


def grants(properties: dict[str, Any], effect: str = "Allow") -> Iterator[Grant]:
    """What a function's statements allow, or deny."""
    for policy in properties["Policies"]:
        for statement in policy["Statement"]:
            assert not {"NotAction", "NotResource", "NotPrincipal"} & set(statement), "this test can't read it"
            if statement["Effect"] == effect:
                for action in _listed(statement["Action"]):
                    for resource in _listed(statement["Resource"]):
                        yield Grant(statement["Sid"], action, name_of(resource))


def name_of(resource: Any) -> str:
    """A statement's resource as in calls.json: ``UploadBucket/plans/*``."""
    if isinstance(resource, str):
        return resource
    ((kind, value),) = resource.items()
    if kind == "Fn::GetAtt":
        return f"{value[0]}/stream" if value[1] == "StreamArn" else str(value[0])
    text = str(value)
    if text.endswith(":event-bus/${EventBusName}"):
        return "EventBusName"
    if machine := re.search(r":execution:\$\{(\w+)\.Name\}:\*$", text):
        return f"{machine[1]}/execution"
    return re.sub(r"\$\{(\w+)(?:\.Arn)?\}", r"\1", text)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def covers(grant: Grant, call: Seen) -> bool:
    return fnmatchcase(call.action, grant.action) and fnmatchcase(call.resource, grant.resource)


def allowed(properties: dict[str, Any], call: Seen) -> bool:
    denied = any(covers(grant, call) for grant in grants(properties, "Deny"))
    return not denied and any(covers(grant, call) for grant in grants(properties))


def unused(function: str, properties: dict[str, Any], calls: set[Seen]) -> Iterator[str]:
    """The permissions of a function that none of its calls needs."""
    made = {call for call in calls if call.function == function}
    for grant in grants(properties):
        what = f"{grant.sid}: {grant.action} on {grant.resource}"
        if not any(covers(grant, call) for call in made):
            yield what
        elif grant.resource == "UploadBucket/*":
            for prefix in sorted(OWN_PREFIXES):
                call = Seen(function, grant.action, f"UploadBucket/{prefix}/*")
                if allowed(properties, call) and call not in made:
                    yield f"{what} covers {prefix}/"


@pytest.fixture(scope="module")
def calls() -> set[Seen]:
    return committed()


def test_every_function_is_in_the_list(functions: dict[str, Any], calls: set[Seen]) -> None:
    assert {call.function for call in calls} == {name for name, found in functions.items() if found["Policies"]}
    assert functions["console"]["Policies"] == []


def test_no_call_is_without_a_statement(functions: dict[str, Any], calls: set[Seen]) -> None:
    assert [str(call) for call in sorted(calls) if not allowed(functions[call.function], call)] == []


def test_no_statement_is_without_a_call(functions: dict[str, Any], calls: set[Seen]) -> None:
    found = {
        (function, what) for function, properties in functions.items() for what in unused(function, properties, calls)
    }
    assert found == set(TOO_MUCH)


def test_both_directions_find_what_is_wrong(functions: dict[str, Any], calls: set[Seen]) -> None:
    """One statement less, or one more, in any function is a finding."""
    for function, properties in functions.items():
        (policy,) = properties["Policies"] or [{"Statement": []}]
        more = {"Sid": "More", "Effect": "Allow", "Action": "s3:DeleteObject", "Resource": {"Fn::GetAtt": ["X", "Arn"]}}
        wider = {"Policies": [{"Statement": [*policy["Statement"], more]}]}
        assert "More: s3:DeleteObject on X" in list(unused(function, wider, calls))
        for index, statement in enumerate(policy["Statement"]):
            if statement["Effect"] == "Deny":
                continue
            others = [*policy["Statement"][:index], *policy["Statement"][index + 1 :]]
            narrower = {"Policies": [{"Statement": others}]}
            lost = [call for call in calls if call.function == function and not allowed(narrower, call)]
            known = {what.partition(":")[0] for name, what in TOO_MUCH if name == function}
            assert lost or statement["Sid"] in known, (function, statement["Sid"])


@pytest.mark.parametrize("name", ["api", "enqueue", "collect"])
def test_a_function_changes_only_the_items_that_it_needs(functions: dict[str, Any], name: str) -> None:
    """The API: jobs, bookings, lasting links, batches and the reason of a pause. The others: what a batch needs."""
    (policy,) = functions[name]["Policies"]
    (statement,) = [one for one in policy["Statement"] if "dynamodb:UpdateItem" in _listed(one["Action"])]
    ((operator, condition),) = statement["Condition"].items()
    assert (operator, list(condition)) == ("ForAllValues:StringLike", ["dynamodb:LeadingKeys"])
    patterns = condition["dynamodb:LeadingKeys"]
    ids = (
        job.upload_job_id("b", "k", "v"),
        job.api_job_id("c", "k"),
        job.batch_job_id("b", 1),
        job.adopted_job_id("r"),
    )
    both = {job.batch_job_id("b", 1), table.day_key("2026-11-30"), table.IN_FLIGHT, table.batch_key("b")}
    of_the_api = {*ids, table.link_key("d"), table.SWITCH}
    changed = both | of_the_api if name == "api" else both
    others = {table.CALENDAR, table.LEASE, table.PLACE, table.request_key("r"), table.bills_key("m")}
    others |= {table.durations_key("m")} | (of_the_api - changed)

    def allowed_for(key: str) -> bool:
        return any(fnmatchcase(key, pattern) for pattern in patterns)

    assert {key for key in changed | others if allowed_for(key)} == changed


def test_the_prefixes_are_those_of_the_code() -> None:
    written = {requests.UPLOAD_PREFIX, requests.BATCH_PREFIX, manifest.PLAN_PREFIX, POSTED_IMAGES, STAGED}
    assert written == {f"{prefix}/" for prefix in PREFIXES} - {"images/", "videos/"}
    assert {f"{prefix}/" for prefix in OWN_PREFIXES} < written
