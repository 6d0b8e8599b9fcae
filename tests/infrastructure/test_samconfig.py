"""What `sam deploy` is told by samconfig.toml."""

import re
import tomllib
from pathlib import Path
from typing import Any

from samcli.cli.types import CfnParameterOverridesType  # type: ignore[import-untyped]


def test_an_environment_that_asks_nobody_names_every_parameter_without_a_default(
    template: dict[str, Any], root: Path
) -> None:
    """As SAM reads it. Until somebody fills it in, CloudFormation refuses what stands there and says what to do."""
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
