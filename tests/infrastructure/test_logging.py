"""LogLevel decides what a function logs, but never whether metrics are written, on which the alarms depend."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR"]
LAMBDAS_OWN = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40, "FATAL": 50}
METRICS = {"JobsUncertain", "JobsHeld", "JobsStuck", "SubmitsPaused", "BatchesPlanned"}
SPEAK = """
from seedance.observability import ALARMING, count, flush, logger
for name in sorted(ALARMING):
    count(name)
count("BatchesPlanned")
for level in ("debug", "info", "warning", "error"):
    getattr(logger(), level)("said")
flush()
"""


def what_lambda_sets(config: dict[str, str]) -> dict[str, str]:
    """The environment variables that Lambda sets from a function's LoggingConfig; a level only with JSON."""
    if config["LogFormat"] == "Text":
        return {"AWS_LAMBDA_LOG_FORMAT": "Text"}
    return {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": config.get("ApplicationLogLevel", "INFO")}


def what_lambda_keeps(lines: list[dict[str, Any]], config: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Lambda's filter, only for JSON: a line without a level is INFO (Lambda guide, "Log-level filtering")."""
    least = LAMBDAS_OWN[config.get("ApplicationLogLevel", "INFO")] if config["LogFormat"] == "JSON" else 0
    for line in lines:
        if LAMBDAS_OWN.get(str(line.get("level")).replace("WARNING", "WARN"), LAMBDAS_OWN["INFO"]) >= least:
            yield line


@pytest.mark.parametrize("level", LEVELS)
def test_the_parameter_sets_the_level_and_every_metric_is_written(
    template: dict[str, Any], root: Path, level: str
) -> None:
    assert template["Parameters"]["LogLevel"]["AllowedValues"] == LEVELS
    function = template["Globals"]["Function"]
    variables = {
        name: level if value == {"Ref": "LogLevel"} else str(value)
        for name, value in function["Environment"]["Variables"].items()
        if name.startswith("POWERTOOLS_")
    }
    env = {**variables, **what_lambda_sets(function["LoggingConfig"]), "PYTHONPATH": str(root / "layers/common")}
    said = subprocess.run(  # noqa: S603
        [sys.executable, "-c", SPEAK], env={**env, "PATH": os.defpath}, capture_output=True, text=True, check=True
    )
    lines = list(what_lambda_keeps(list(map(json.loads, said.stdout.splitlines())), function["LoggingConfig"]))
    assert [line["level"] for line in lines if "level" in line] == LEVELS[LEVELS.index(level) :]
    metrics = [name for line in lines if "_aws" in line for name in line if name in METRICS]
    assert sorted(metrics) == sorted(METRICS)


def test_no_function_has_its_own_log_filter(functions: dict[str, Any]) -> None:
    assert all(set(properties["LoggingConfig"]) == {"LogGroup"} for properties in functions.values())
