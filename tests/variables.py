"""The functions' variables as a deployed stack has them, for who calls functions without one.

What template.yaml declares is not written down again: a variable that refers to a parameter has the parameter's
default. A test or a benchmark gives only what a stack would create, and what it wants to be otherwise.
"""

from collections.abc import Mapping
from typing import Any


def variables(template: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """All variables of all functions, but for those of Powertools. ``given`` goes before the parameters' defaults.

    Raises LookupError if a variable has neither, or if no function has one that is given.
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
    """The default of the parameter that a variable refers to."""
    parameter = template["Parameters"].get(value["Ref"], {}) if "Ref" in value else {}
    return str(parameter["Default"]) if "Default" in parameter else None
