"""Checks that the API's answers are those that its description promises: status, media type, headers and body."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

OPENAPI = Path(__file__).parents[1] / "layers/common/seedance/rest/openapi.json"


@cache
def description() -> dict[str, Any]:
    """The built description."""
    return dict(json.loads(OPENAPI.read_text()))


@cache
def validator(pointer: str) -> Draft202012Validator:
    """The validator of the schema at a place of the description: ``/components/schemas/Video``."""
    resource = Resource.from_contents(description(), default_specification=DRAFT202012)
    registry: Any = Registry().with_resource("description", resource)
    return Draft202012Validator({"$ref": f"description#{pointer}"}, registry=registry)


def faults(schema: str, body: object) -> list[str]:
    """What is wrong with a body, by the name of its schema. Properties that are not described are faults too."""
    found = [
        f"{error.json_path}: {error.message}" for error in validator(f"/components/schemas/{schema}").iter_errors(body)
    ]
    described = description()["components"]["schemas"][schema].get("properties", {})
    unknown = set(body) - set(described) if isinstance(body, dict) and described else set()
    return found + [f"{name} is not described" for name in sorted(unknown)]


def check(method: str, resource: str, answer: Mapping[str, Any]) -> None:
    """Check an answer of the function. A path or method that is not described has the answer 404."""
    status, headers, body = str(answer["statusCode"]), answer["headers"], json.loads(answer["body"])
    methods = description()["paths"].get(resource, {})
    operation = methods.get(method.lower()) if method.isupper() else None
    if operation is None:
        assert status == "404", (method, resource, status)
        assert faults("Problem", body) == []
        return
    assert status in operation["responses"], f"{method} {resource} answers {status}, which is not described"
    described = operation["responses"][status]
    ((kind, content),) = described["content"].items()
    assert headers["Content-Type"] == kind
    known = described.get("headers", {})
    assert set(headers) - {"Content-Type"} <= set(known)
    assert {name for name, one in known.items() if one.get("required")} <= set(headers)
    assert faults(content["schema"]["$ref"].rpartition("/")[2], body) == []
