"""Reads a template: resources of a type, statements of policies, and a part of it under given conditions."""

from collections.abc import Collection
from typing import Any

NO_VALUE = {"Ref": "AWS::NoValue"}
ALL = (
    *("OnAws", "HasBoundary", "UploadsExpire", "VideosExpire", "WantsDashboard", "WantsMail", "WantsAlarmMail"),
    *("HasDomain", "WantsWebhook", "HasWebhookSecret"),
)


def of_type(resources: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The properties of the resources of a type, by name."""
    return {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == kind}


def as_list(value: Any) -> list[Any]:
    """The value, in a list if it is not one."""
    return value if isinstance(value, list) else [value]


def statements(policies: list[Any]) -> list[dict[str, Any]]:
    """The statements of a function's or workflow's policies."""
    return [statement for policy in policies for statement in policy.get("Statement", [])]


def resolved(value: Any, true: Collection[str] = ALL) -> Any:
    """A part of the template without its ``Fn::If``, if these conditions are true and the others false."""
    if isinstance(value, dict):
        if set(value) == {"Fn::If"}:
            condition, then, otherwise = value["Fn::If"]
            return resolved(then if condition in true else otherwise, true)
        inner = {name: resolved(each, true) for name, each in value.items()}
        return {name: each for name, each in inner.items() if each != NO_VALUE}
    if isinstance(value, list):
        return [each for each in (resolved(each, true) for each in value) if each != NO_VALUE]
    return value
