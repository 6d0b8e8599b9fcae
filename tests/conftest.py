"""Fixtures for all tests: the repository's path, and its template as data."""

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest_plugins = ["tests.hostile", "tests.whole"]

ROOT = Path(__file__).parents[1]


class TemplateLoader(yaml.SafeLoader):
    """Expands CloudFormation's short forms: ``!Ref x`` becomes ``{"Ref": "x"}``."""


def _long_form(loader: TemplateLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        value = value.split(".", 1) if tag == "GetAtt" else value
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


TemplateLoader.add_multi_constructor("!", _long_form)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def template() -> dict[str, Any]:
    """template.yaml with its anchors resolved."""
    loaded: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), Loader=TemplateLoader)  # noqa: S506 - a SafeLoader
    return loaded
