"""The functions' environment variables, for tests and benchmarks that call functions without a stack.

A variable that refers to a parameter of template.yaml has the parameter's default. Tests and benchmarks only set the
variables that refer to resources, and those that must differ from the default.
"""

from collections.abc import Mapping
from typing import Any


def variables(template: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """All variables of all functions, except those of Powertools. ``given`` overrides the parameters' defaults.

    Raises LookupError if a variable has neither a given value nor a default, or if no function has a given variable.
    """
    declared = _declared(template)
    if unknown := set(given) - set(declared):
        raise LookupError(f"no function has the variables {sorted(unknown)}")
    defaults = {name: _default(template, value) for name, value in declared.items()}
    found = {name: value for name, value in {**defaults, **given}.items() if value is not None}
    if missing := set(declared) - set(found):
        raise LookupError(f"the variables {sorted(missing)} have no default in the template")
    return found


def _declared(template: Mapping[str, Any]) -> dict[str, Any]:
    environments = [template["Globals"]["Function"]["Environment"]] + [
        resource["Properties"].get("Environment", {})
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Serverless::Function"
    ]
    return {
        name: value
        for environment in environments
        for name, value in environment.get("Variables", {}).items()
        if not name.startswith("POWERTOOLS_")
    }


def _default(template: Mapping[str, Any], value: Any) -> str | None:
    """The default of the parameter that a variable refers to, if there is one."""
    parameter = template["Parameters"].get(value["Ref"], {}) if "Ref" in value else {}
    return str(parameter["Default"]) if "Default" in parameter else None
