"""Each function has the permissions that its code needs, derived from the calls in its use case, not from a list.

A link is signed with the function's role, and works only for what that role may read. Signing never fails; without
the permission, the person who opens the link is refused.
"""

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest
from seedance.media.buckets import Media
from seedance.notices.notifier import Notifier

from tests.infrastructure.reading import as_list

READ_VIDEOS = ("s3:GetObject", "${VideoBucket.Arn}/videos/*")
WRITE_VIDEOS = ("s3:PutObject", "${VideoBucket.Arn}/videos/*")
READ_UPLOADS = ("s3:GetObject", "${UploadBucket.Arn}/*")
READ_UPLOADED_VERSIONS = ("s3:GetObjectVersion", "${UploadBucket.Arn}/*")
LIST_UPLOADED_VERSIONS = ("s3:ListBucketVersions", "UploadBucket.Arn")
PUBLISH = ("sns:Publish", "NotificationTopic")

CALLS = {
    "notify": {PUBLISH, READ_VIDEOS},
    "tell": {PUBLISH, READ_VIDEOS},
    "summarise": {PUBLISH},
    "video_link": {READ_VIDEOS},
    "frame_link": {READ_VIDEOS},
    "video_links": {READ_VIDEOS},
    "look_at": {READ_UPLOADS},
    "find_image": {READ_UPLOADS},
    "is_still_empty": {READ_UPLOADS},
    "version_before": {LIST_UPLOADED_VERSIONS, READ_UPLOADED_VERSIONS},
    "version_after": {LIST_UPLOADED_VERSIONS},
    "metadata_of": {READ_UPLOADED_VERSIONS},
    "image_link": {READ_UPLOADS},
    "image_base64": {READ_UPLOADS},
    "store_video": {WRITE_VIDEOS},
    "store_frame": {WRITE_VIDEOS},
    "store_manifest": {WRITE_VIDEOS},
}
"""What the methods of Notifier and Media, and video_links, need, as (action, resource)."""

ADAPTERS = {"buckets", "notifier", "signed", "video_links"}
NOT_THEIRS = {"http"}
"""Modules whose methods of these names are others: ``notify`` of a threading.Condition."""
SHARED = {
    "examining": ["repair"],
    "intake": ["submit"],
    "paid_call": ["submit", "generate"],
    "lost": ["reconcile", "repair", "submit"],
}
"""Modules that several use cases, or one, are made of."""


def calls(module: Path) -> set[str]:
    """The methods and functions of CALLS that a module calls."""
    called = {node.func for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)}
    names = {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in called}
    return names & set(CALLS)


@pytest.fixture(scope="module")
def callers(root: Path) -> dict[str, set[str]]:
    """The calls of each function, by the function's name."""
    found: dict[str, set[str]] = {}
    for module in (root / "layers/common/seedance").rglob("*.py"):
        if module.stem not in ADAPTERS | NOT_THEIRS and (called := calls(module)):
            for function in SHARED.get(module.stem, [module.stem]):
                found.setdefault(function, set()).update(called)
    return found


def allowed(properties: dict[str, Any]) -> set[tuple[str, str]]:
    """A function's permissions, as (action, resource). What is denied are files that none of CALLS is called with."""
    found = set()
    for policy in properties["Policies"]:
        for statement in policy["Statement"]:
            if statement["Effect"] == "Deny":
                continue
            actions = as_list(statement["Action"])
            for resource in as_list(statement["Resource"]):
                (name,) = resource.values() if isinstance(resource, dict) else [resource]
                found |= {(action, name if isinstance(name, str) else ".".join(name)) for action in actions}
    return found


def test_every_function_has_the_permissions_for_its_calls(
    functions: dict[str, Any], callers: dict[str, set[str]]
) -> None:
    missing = {
        name: refused
        for name, called in callers.items()
        if (refused := set().union(*(CALLS[method] for method in called)) - allowed(functions[name]))
    }
    assert missing == {}


def test_only_these_functions_send_notifications_about_jobs(callers: dict[str, set[str]]) -> None:
    assert {name for name, called in callers.items() if called & {"notify", "tell"}} == {
        *("submit", "finalize", "fail", "reconcile", "repair")
    }


def test_every_method_of_these_adapters_is_in_the_table() -> None:
    methods = {name for kind in (Media, Notifier) for name, _ in inspect.getmembers(kind, inspect.isfunction)}
    assert {name for name in methods if not name.startswith("_")} | {"video_links"} == set(CALLS)
