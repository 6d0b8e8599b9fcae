"""Reads resource policies, as far as the checks need it. Pure.

It does not evaluate policies as AWS does: it recognises the statements of template.yaml, and statements that grant
something to everybody.
"""

import json
from fnmatch import fnmatchcase
from typing import Any

Policy = list[dict[str, Any]]


def read(text: str | None) -> Policy:
    """The statements of a policy; none if there is no policy."""
    found = json.loads(text).get("Statement", []) if text else []
    return found if isinstance(found, list) else [found]


def allows_service(policy: Policy, service: str, action: str, resource: str) -> bool:
    """Whether a statement allows a service of AWS an action on a resource, and none denies it without a condition."""
    about = [
        one for one in policy if _covers(one, action, resource) and {service, "*"} & set(_principals(one, "Service"))
    ]
    denied = any(one["Effect"] == "Deny" and not one.get("Condition") for one in about)
    return not denied and any(one["Effect"] == "Allow" for one in about)


def refuses_plain_text(policy: Policy, action: str, resource: str) -> bool:
    """Whether a statement denies everybody an action over plain HTTP."""
    return any(
        one["Effect"] == "Deny"
        and "*" in _principals(one, "AWS")
        and _covers(one, action, resource)
        and str(one.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport", "")).lower() == "false"
        for one in policy
    )


def open_to_everybody(policy: Policy) -> list[str]:
    """The actions that a statement allows everybody without a condition."""
    return [
        action
        for one in policy
        if one["Effect"] == "Allow" and "*" in _principals(one, "AWS") and not one.get("Condition")
        for action in _listed(one.get("Action", "everything but NotAction"))
    ]


def _covers(statement: dict[str, Any], action: str, resource: str) -> bool:
    actions = (one.lower() for one in _listed(statement.get("Action")))
    resources = _listed(statement.get("Resource"))
    return any(fnmatchcase(action.lower(), one) for one in actions) and any(
        fnmatchcase(resource, one) for one in resources
    )


def _principals(statement: dict[str, Any], kind: str) -> list[str]:
    """The principals of a kind, such as ``Service``. Everybody is ``*``, whatever the kind."""
    given = statement.get("Principal", {})
    if given == "*" or "*" in _listed(given.get("AWS")):
        return ["*"]
    return _listed(given.get(kind))


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]
