"""What the house rules check: the template's resources, the workflows, the source."""

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.infrastructure.reading import resolved


@pytest.fixture(scope="session")
def resources(template: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict(template["Resources"])


@pytest.fixture(scope="session")
def functions(resources: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The properties of each function, by the name of its folder, in a stack that has everything."""
    found = {
        Path(resource["Properties"]["CodeUri"]).name: resolved(resource["Properties"])
        for resource in resources.values()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert found
    return found


@pytest.fixture(scope="session")
def workflow(root: Path) -> dict[str, Any]:
    """The state machine's definition."""
    return dict(json.loads((root / "statemachine/video_job.asl.json").read_text()))


@pytest.fixture(scope="session")
def workflows(root: Path) -> dict[str, dict[str, Any]]:
    """The definitions of all state machines, by the name of their file."""
    files = (root / "statemachine").glob("*.asl.json")
    return {path.name.removesuffix(".asl.json"): dict(json.loads(path.read_text())) for path in files}


@pytest.fixture(scope="session")
def layer(root: Path) -> dict[str, ast.Module]:
    """The modules of the layer, parsed, by name: ``submit``, ``jobs.store``."""
    package = root / "layers/common/seedance"
    modules = [path for path in package.rglob("*.py") if path.name != "__init__.py"]
    return {".".join(path.relative_to(package).with_suffix("").parts): ast.parse(path.read_text()) for path in modules}


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """The files that git tracks, and untracked ones that it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.splitlines()  # noqa: S603
    return [root / name for name in names if (root / name).is_file()]
