"""What is allowed for a model's parameter, from its JSON Schema: in words for people, as a list for machines. Pure."""

from typing import Any

from pydantic import BaseModel

from seedance.errors import Allowed


def words(parameters: type[BaseModel], name: str) -> str:
    """A parameter's allowed values in words: ``a whole number from 4 to 10``."""
    return _words(_schema(parameters, name))


def values(parameters: type[BaseModel], name: str) -> Allowed:
    """A parameter's allowed values for machines: a list of them, or in words if there are too many."""
    schema = _schema(parameters, name)
    if schema.get("type") == "boolean":
        return [True, False]
    return schema.get("enum") or _words(schema)


def _schema(parameters: type[BaseModel], name: str) -> dict[str, Any]:
    """A parameter's schema, without the null that stands for a missing value."""
    schema: dict[str, Any] = parameters.model_json_schema()["properties"][name]
    return next((s for s in schema.get("anyOf", []) if s["type"] != "null"), schema)


def _words(schema: dict[str, Any]) -> str:
    if choices := schema.get("enum"):
        return f"{', '.join(map(str, choices[:-1]))} or {choices[-1]}"
    match schema["type"]:
        case "integer":
            return f"a whole number from {schema['minimum']} to {schema['maximum']}"
        case "boolean":
            return "true or false"
        case "array":
            return f"a list of at most {schema['maxItems']}, each {_words(schema['items'])}"
        case _ if schema.get("format") == "uri":
            return f"an http or https address of at most {schema['maxLength']} characters, without spaces"
        case _:
            return f"text of {schema['minLength']} to {schema['maxLength']} characters"
