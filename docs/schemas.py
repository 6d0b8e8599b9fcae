"""JSON Schemas of the API's types: of the models that validate requests, and of the types of its answers."""

import ast
import inspect
import json
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from seedance.aws.fields import OBJECT_KEY_BYTES
from seedance.jobs import catalogue, labels, requests, retrying
from seedance.rest import budget, uploads

Schema = dict[str, Any]


# answers ----------------------------------------------------------------------------------------------------------


class Components:
    """The named schemas, each made from a TypedDict or an enumeration when it is first referred to."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}

    def of(self, kind: Any) -> Schema:
        """The schema of a type."""
        simple = {str: "string", int: "integer", float: "number", bool: "boolean"}
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if kind in simple:
            return {"type": simple[kind]}
        if kind in (Any, object):
            return {}
        if typing.is_typeddict(kind) or (isinstance(kind, type) and issubclass(kind, StrEnum)):
            return self._named(kind)
        if origin in (typing.Union, types.UnionType):
            return self._union(inner)
        if origin in (list, Sequence):
            return {"type": "array", "items": self.of(inner[0])}
        if origin in (dict, Mapping):
            return {"type": "object", "additionalProperties": self.of(inner[1])}
        if origin in (typing.NotRequired, typing.Required):
            return self.of(inner[0])
        raise TypeError(f"no schema for {kind}")

    def _union(self, inner: tuple[Any, ...]) -> Schema:
        schemas = [self.of(one) for one in inner if one is not types.NoneType]
        if types.NoneType not in inner:
            return {"anyOf": schemas}
        if len(schemas) == 1 and isinstance(schemas[0].get("type"), str):
            return {**schemas[0], "type": [schemas[0]["type"], "null"]}
        return {"anyOf": [*schemas, {"type": "null"}]}

    def _named(self, kind: type) -> Schema:
        name = kind.__name__
        if name not in self.schemas:
            self.schemas[name] = {}  # a type may refer to itself
            self.schemas[name] = self._enumeration(kind) if issubclass(kind, StrEnum) else self._object(kind)
        return {"$ref": f"#/components/schemas/{name}"}

    @staticmethod
    def _enumeration(kind: type[StrEnum]) -> Schema:
        meanings = "\n".join(f"- {member.value}: {about(kind, name)}" for name, member in kind.__members__.items())
        return {
            "type": "string",
            "description": f"{first_words(kind)}\n\n{meanings}",
            "enum": [member.value for member in kind],
        }

    def _object(self, kind: Any) -> Schema:
        properties: dict[str, Schema] = {}
        for name, hint in typing.get_type_hints(kind, include_extras=True).items():
            schema = self.of(hint)
            if name.endswith("_at"):
                schema["format"] = "date-time"
            if words := about(kind, name):
                schema["description"] = words
            properties[name] = schema
        required = [name for name in properties if name in kind.__required_keys__]
        return {"type": "object", "description": first_words(kind), "properties": properties, "required": required}


def first_words(kind: type) -> str:
    """The docstring of a class."""
    return inspect.cleandoc(kind.__doc__ or "").replace("``", "`")


def about(kind: type, name: str) -> str:
    """The docstring below an attribute of a class."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)  # noqa: S101
    for line, below in zip(tree.body, tree.body[1:], strict=False):
        target = line.targets[0] if isinstance(line, ast.Assign) else getattr(line, "target", None)
        if isinstance(target, ast.Name) and target.id == name and isinstance(below, ast.Expr):
            return inspect.cleandoc(ast.literal_eval(below.value)).replace("\n", " ").replace("``", "`")
    return ""


# requests ---------------------------------------------------------------------------------------------------------

_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
"""No control characters but tabs and line breaks."""


def _parameters(model: catalogue.Model) -> Schema:
    """The schema of a model's parameters as a request may give them: also under their common names."""
    schema: Schema = json.loads(json.dumps(model.parameters.model_json_schema()))
    schema.pop("required", None)  # the prompt may also be at the top level
    schema["title"] = f"Parameters of {model.slug}"
    schema["description"] = f"The parameters of {model.title}."
    common = {"first_image": model.parameters.first_image, "last_image": model.parameters.last_image}
    for alias, name in catalogue.COMMON_NAMES.items():
        meant = common.get(name, name)
        if meant in model.names and alias not in schema["properties"]:
            schema["properties"][alias] = {**schema["properties"][meant], "description": f"The same as `{meant}`."}
    return schema


def _request(components: Components) -> Schema:
    """The body of POST /videos, without what must be in it."""
    each = {}
    for model in catalogue.MODELS.values():
        name = f"Parameters.{model.slug}"
        components.schemas[name] = _parameters(model)
        each[model.slug] = {"$ref": f"#/components/schemas/{name}"}
    one = catalogue.MODELS["seedance-pro"].parameters.model_json_schema()["properties"]
    address = next(kind for kind in one["image_url"]["anyOf"] if kind["type"] == "string")
    properties = {
        "model": {"type": "string", "enum": list(each), "description": "Default: the stack's `DefaultModel`."},
        "prompt": {**one["prompt"], "description": "What should happen in the video."},
        "parameters": {"anyOf": list(each.values()), "description": "Parameters of the model."},
        "image": {**address, "description": "The address of the first image."},
        "image_key": {
            "type": "string",
            "minLength": 1,
            "maxLength": OBJECT_KEY_BYTES,
            "description": "The first image, as a key in the upload bucket under one of `ImageKeyPrefixes`.",
        },
        "transport": {
            "type": "string",
            "enum": sorted({name for model in catalogue.MODELS.values() for name in model.transports}, reverse=True),
            "description": "Default: the stack's `DefaultTransport`. Not every model has v1.",
        },
    }
    properties |= {
        "name": {
            "type": "string",
            "minLength": 1,
            "maxLength": labels.NAME_CHARACTERS,
            "pattern": r"^(?![ .])[^\x00-\x1f\x7f/\\]*$",
            "description": "The video's file name for downloads, and its name in mails. Default: the name of the image "
            "in `image_key`, or else the beginning of the prompt.",
        },
        "metadata": {
            "type": "object",
            "maxProperties": labels.PAIRS,
            "propertyNames": {"minLength": 1, "maxLength": labels.PAIR_NAME_CHARACTERS, "pattern": _TEXT},
            "additionalProperties": {"type": "string", "maxLength": labels.PAIR_VALUE_CHARACTERS, "pattern": _TEXT},
            "description": "Your own names and values, at most 2048 bytes. They come back with the job, and in its "
            "notification.",
        },
    }
    if tuple(sorted(properties)) != tuple(sorted(requests.BODY_FIELDS)):
        raise SystemExit(f"the fields of a request are {requests.BODY_FIELDS}, not {tuple(properties)}")
    rules = []
    for slug, schema in each.items():
        then = {"parameters": schema, "transport": {"enum": list(catalogue.MODELS[slug].transports)}}
        when = {"properties": {"model": {"const": slug}}, "required": ["model"]}
        rules.append({"if": when, "then": {"properties": then}})
    twice = {"properties": {"parameters": {"required": ["prompt"]}}, "required": ["prompt", "parameters"]}
    rules.append({"not": twice})
    return {"type": "object", "properties": properties, "additionalProperties": False, "allOf": rules}


def of_requests(components: Components) -> None:
    request = _request(components)
    in_parameters = {"properties": {"parameters": {"required": ["prompt"]}}, "required": ["parameters"]}
    components.schemas["VideoRequest"] = {
        "description": "A video. The prompt is here or among the parameters.",
        **request,
        "anyOf": [{"required": ["prompt"]}, in_parameters],
    }
    components.schemas["EstimateRequest"] = {
        "description": "A video, as for POST /videos; no prompt needed.",
        **request,
    }
    components.schemas["PauseRequest"] = {
        "type": "object",
        "description": "Why submits are paused.",
        "properties": {
            "reason": {
                "type": ["string", "null"],
                "minLength": 1,
                "maxLength": budget.LONGEST_REASON,
                "pattern": r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$",
                "default": budget.USUAL_REASON,
                "description": "Shown on held jobs and in their notifications.",
            }
        },
        "additionalProperties": False,
    }

    components.schemas["RetryRequest"] = {
        "type": "object",
        "description": "Whether a retry may buy the video again.",
        "properties": {
            "pay": {
                "type": ["boolean", "null"],
                "default": False,
                "description": "Whether the video may be bought again if there is no result to copy.",
            },
            "max_usd": {
                "type": ["number", "null"],
                "minimum": retrying.LEAST_USD,
                "maximum": retrying.MOST_USD,
                "description": "The most that it may cost by its estimate; only with `pay`. Default: what the day's "
                "budget allows.",
            },
        },
        "additionalProperties": False,
        "if": {"properties": {"max_usd": {"type": "number"}}, "required": ["max_usd"]},
        "then": {"properties": {"pay": {"const": True}}, "required": ["pay"]},
    }

    components.schemas["BatchRequest"] = {
        "type": "object",
        "description": "A manifest to plan.",
        "properties": {
            "manifest_key": {
                "type": "string",
                "maxLength": OBJECT_KEY_BYTES,
                "pattern": r"^staged/[\s\S]*\.([cC][sS][vV]|[jJ][sS][oO][nN][lL])$",
                "description": "The manifest, as a key in the upload bucket under `staged/`. Its latest version is "
                "planned.",
            },
            "approve": {
                "type": "boolean",
                "default": False,
                "description": "Whether to buy its videos as soon as it is planned.",
            },
        },
        "required": ["manifest_key"],
        "additionalProperties": False,
    }


def of_uploads(components: Components) -> None:
    most: dict[int, list[str]] = {}
    for ending, kind in uploads.KINDS.items():
        most.setdefault(kind.most_bytes, []).append(ending)
    components.schemas["UploadRequest"] = {
        "type": "object",
        "description": "A file to upload.",
        "properties": {
            "name": {
                "type": "string",
                "minLength": 1,
                "maxLength": uploads.LONGEST_NAME,
                "pattern": _named(uploads.KINDS),
                "description": "The file's name, which becomes part of the key. Its ending says what it is: "
                f"{', '.join(f'.{ending}' for ending in uploads.KINDS)}.",
            },
            "bytes": {
                "type": ["integer", "null"],
                "minimum": 1,
                "maximum": max(most),
                "description": "The file's size, if you know it. Then S3 accepts no other.",
            },
        },
        "required": ["name"],
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"name": {"pattern": _named(endings)}}},
                "then": {"properties": {"bytes": {"maximum": limit}}},
            }
            for limit, endings in most.items()
        ],
    }


def _named(endings: Iterable[str]) -> str:
    """The pattern of a file's name with one of these endings. JSON Schema's patterns know no option for letter case."""
    any_case = ("".join(f"[{letter}{letter.upper()}]" for letter in ending) for ending in endings)
    return rf"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f/\\]\.({'|'.join(any_case)})$"


def of_models(components: Components) -> None:
    kinds = {str: "string", float: "number", int: "number", list: "array", dict: "object", type(None): "null"}
    described = catalogue.describe()
    properties: dict[str, Schema] = {}
    for name in described[0]:
        found = {kinds[type(model[name])] for model in described}
        properties[name] = {"type": found.pop() if len(found) == 1 else sorted(found)}
    properties["transports"]["items"] = {"type": "string"}
    properties["parameters"]["description"] = "JSON Schema."
    model = {"type": "object", "description": "A model.", "properties": properties, "required": list(properties)}
    components.schemas["Model"] = model
    items = {"type": "array", "items": {"$ref": "#/components/schemas/Model"}}
    components.schemas["Models"] = {"type": "object", "properties": {"models": items}, "required": ["models"]}
    components.schemas["Description"] = {"type": "object", "required": ["openapi", "info", "paths"]}
