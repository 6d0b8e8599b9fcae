"""The parameters that samconfig.toml passes to `sam deploy`."""

import re
import tomllib
from pathlib import Path
from typing import Any

from samcli.cli.types import CfnParameterOverridesType  # type: ignore[import-untyped]


def test_a_non_interactive_environment_sets_every_parameter_without_a_default(
    template: dict[str, Any], root: Path
) -> None:
    """As SAM reads the file. CloudFormation refuses the placeholder values and says what to fill in."""
    config = tomllib.loads((root / "samconfig.toml").read_text())
    silent = {
        name: about["deploy"]["parameters"] for name, about in config.items() if name not in ("version", "default")
    }
    assert set(silent) == {"staging"}
    required = {name: about for name, about in template["Parameters"].items() if "Default" not in about}
    for settings in silent.values():
        given = CfnParameterOverridesType().convert(settings["parameter_overrides"], None, None)
        assert set(required) <= set(given) <= set(template["Parameters"])
        for name, about in required.items():
            assert "FILL-IN" in given[name]
            assert not re.fullmatch(about["AllowedPattern"], given[name])
            assert "aws secretsmanager create-secret" in about["ConstraintDescription"]
