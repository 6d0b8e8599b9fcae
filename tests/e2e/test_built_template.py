"""The template that `sam build` produces: the file that is deployed, and that scanners should check."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from deployed import Deployed

from local import launch

pytestmark = pytest.mark.e2e


@pytest.fixture
def built(deployed: Deployed) -> Path:
    """The template that the stack was deployed from."""
    return launch.built_template()


def test_it_has_no_anchors(built: Path) -> None:
    """Our template shares policies with YAML anchors, which many tools do not support."""
    events = list(yaml.parse(built.read_text()))
    assert len(events) > 1000
    assert [event for event in events if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None)] == []


def test_it_passes_the_linter(built: Path) -> None:
    command = [Path(sys.executable).parent / "cfn-lint", built]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert said.returncode == 0, said.stdout
