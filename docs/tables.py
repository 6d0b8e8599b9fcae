"""Generates Markdown tables from the code. cog inserts them into the pages in docs/ (`make reference`)."""

import ast
import inspect
import json
import sys
import textwrap
from enum import Enum
from pathlib import Path
from typing import Any

import openapi  # type: ignore[import-not-found]  # beside this file
import typer.main
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]
from seedance.batches.record import BatchState
from seedance.jobs import allowed, catalogue
from seedance.jobs.job import TRANSITIONS, State, phase
from seedance.jobs.prices import PRICES_OF, PUBLISHED, Setting, published_usd
from seedance.jobs.reasons import Code
from seedance.rest import listing

from cli.doctor.facts import FACTS
from cli.doctor.table import CHECKS
from cli.main import app
from cli.output import Exit

_ROOT = Path(__file__).parents[1]
_LAYER = _ROOT / "layers/common/seedance"
_TEMPLATE = yaml_parse((_ROOT / "template.yaml").read_text())

_EVERYWHERE = frozenset({"help", "stack", "outputs", "as_json"})
"""Options of nearly every command, which the page describes once."""


def models() -> str:
    """The models: their average price and duration, and their own parameters."""
    shared = set.intersection(*(set(model.names) for model in catalogue.MODELS.values()))
    rows = [
        (
            f"`{model.slug}`",
            f"${model.average_usd:.2f}, {model.average_seconds:.0f} s",
            " ".join(model.transports),
            _names(name for name in model.names if name not in shared),
        )
        for model in catalogue.MODELS.values()
    ]
    return _table(("model", "average", "transport", f"parameters besides {_names(sorted(shared))}"), rows)


def prices() -> str:
    """The published prices of each model: the basis, and what a usual video costs in each resolution."""
    rows = []
    for slug, model in catalogue.MODELS.items():
        priced = []
        for size in ("480p", "720p", "1080p"):
            offered = size in model.parameters.model_json_schema()["properties"]["resolution"]["enum"]
            sounds = (False, True) if PUBLISHED[slug].tokens else (None,)
            usd = [f"{published_usd(slug, Setting(size, 5, '16:9', audio)):.2f}" for audio in sounds]
            priced.append(" / ".join(usd) if offered else "")
        rows.append((f"`{slug}`", PUBLISHED[slug].basis, *priced))
    return _table((f"model, {PRICES_OF}", "published", "480p", "720p", "1080p"), rows)


def parameters() -> str:
    """Each model's parameters, with allowed values and default."""
    return "\n\n".join(
        f"### {slug}\n\n{_table(('parameter', 'allowed', 'default'), map(_parameter, _schemas(model)))}"
        for slug, model in catalogue.MODELS.items()
    )


def _schemas(model: catalogue.Model) -> list[tuple[catalogue.Model, str, Any]]:
    schema = model.parameters.model_json_schema()["properties"]
    return [(model, name, schema[name]) for name in model.names]


def _parameter(row: tuple[catalogue.Model, str, Any]) -> tuple[str, str, str]:
    model, name, schema = row
    about = f". {schema['description']}" if "description" in schema else ""
    default = schema.get("default")
    written = json.dumps(default).strip('"')
    shown = "required" if "default" not in schema else "" if default in (None, []) else f"`{written}`"
    return f"`{name}`", allowed.words(model.parameters, name) + about, shown


def house() -> str:
    """A picture of the layer: its folders, and the use cases above them. An arrow means "imports".

    An arrow that follows from others is left out, and so are the modules that nearly all import.
    """
    everywhere = {"bounds", "clock", "config", "errors", "masking", "observability"}
    uses: dict[str, set[str]] = {}
    for name, imports in _modules().items():
        found = {module.partition(".")[0] for module in imports} - everywhere
        room = name.partition(".")[0] if "." in name else "top"
        if room not in everywhere and name not in everywhere:
            uses.setdefault(room, set()).update(found - {room})
    uses["top"] &= uses.keys()
    arrows = [
        (room, other)
        for room in sorted(uses)
        for other in sorted(uses[room])
        if not any(other in _reached(uses, between) for between in uses[room] - {other})
    ]
    lines = ["    top[use cases]", *(f"    {room} --> {other}" for room, other in arrows)]
    return "\n".join(["```mermaid", "graph TD", *lines, "```"])


def _reached(uses: dict[str, set[str]], room: str) -> set[str]:
    return uses[room].union(*(_reached(uses, other) for other in uses[room]))


def rooms() -> str:
    """The folders of the layer: their subjects, their modules, and what they import."""
    found = _modules()
    folders = sorted({name.partition(".")[0] for name in found if "." in name})
    rows = []
    for folder in folders:
        about = (_LAYER / folder / "__init__.py").read_text().strip().strip('"')
        modules = [name.partition(".")[2] for name in found if name.startswith(f"{folder}.")]
        others = {module.partition(".")[0] for name in found if name.startswith(f"{folder}.") for module in found[name]}
        rows.append((f"`{folder}/`", about, _names(modules), _names(sorted(others - {folder}))))
    return _table(("folder", "about", "modules", "imports"), rows)


def modules_at_the_top() -> str:
    """The modules outside the folders: the use cases, and what several of them share."""
    rows = []
    for name, imports in _modules().items():
        if "." not in name:
            about = ast.get_docstring(ast.parse((_LAYER / f"{name}.py").read_text())) or ""
            first = about.partition("\n\n")[0].replace("\n", " ").removesuffix(" Pure.")
            rows.append((f"`{name}`", first, _names(sorted({module.partition(".")[0] for module in imports}))))
    return _table(("module", "about", "imports"), rows)


def _modules() -> dict[str, set[str]]:
    """The layer's modules (``submit``, ``jobs.store``), each with the modules that it imports."""
    paths = [path for path in sorted(_LAYER.rglob("*.py")) if path.name != "__init__.py"]
    names = {".".join(path.relative_to(_LAYER).with_suffix("").parts): path for path in paths}
    return {name: _imports(ast.parse(path.read_text())) & set(names) for name, path in names.items()}


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seedance"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return {name.removeprefix("seedance.") for name in found}


def states() -> str:
    """The states of a job."""
    return _table(("state", "meaning"), _members(State))


def transitions() -> str:
    """Which states follow on which, as ``jobs/job.py`` allows them."""
    order = list(State)
    rows = [
        (f"`{state}`", phase(state).name.replace("_", " ").lower(), _names(sorted(after, key=order.index)) or "-")
        for state, after in TRANSITIONS.items()
    ]
    return _table(("state", "phase", "next"), rows)


def batch_states() -> str:
    """The states of a batch."""
    return _table(("state", "meaning"), [(name, meaning) for name, meaning in _members(BatchState)])


def codes() -> str:
    """The error codes of a job."""
    return _table(("code", "meaning"), _members(Code))


def calls() -> str:
    """The API's calls."""
    rows = [(f"`{route}`", of.summary, of.about) for route, of in openapi.OPERATIONS.items()]
    return _table(("call", "for", "about"), rows)


def problems() -> str:
    """The statuses with which calls are refused, by the API or by API Gateway."""
    codes = {
        400: "INVALID_REQUEST",
        403: "FORBIDDEN",
        404: "NOT_FOUND",
        409: "CONFLICT`, `ALREADY_BOUGHT`, `NOT_POSSIBLE`, `NEEDS_PAYMENT`, `DEARER_THAN_ALLOWED`, `DEARER_THAN_BUDGET",
        413: "TOO_LARGE",
        415: "UNSUPPORTED_ENCODING",
        422: "INVALID_REQUEST",
        429: "TOO_MANY_REQUESTS",
        500: "RECORD_UNREADABLE",
    }
    rows = [(str(status), f"`{codes[status]}`", words) for status, words in openapi.SAYS.items()]
    return _table(("status", "code", "meaning"), [*rows, ("5xx", "`UNAVAILABLE`", openapi.SAYS_5XX)])


def list_parameters() -> str:
    """The parameters of GET /videos."""
    return _table(("parameter", "meaning"), [(f"`{name}`", of.about) for name, of in listing.PARAMETERS.items()])


def stack_parameters() -> str:
    """The parameters of template.yaml."""
    rows = [
        (f"`{name}`", _default(about.get("Default")), _choices(about) + str(about["Description"]))
        for name, about in _TEMPLATE["Parameters"].items()
    ]
    return _table(("parameter", "default", "meaning"), rows)


def _default(value: Any) -> str:
    return "none" if value in (None, "") else f"`{value}`" if len(str(value)) < 40 else f"`{str(value)[:36]}…`"


def _choices(about: dict[str, Any]) -> str:
    allowed = about.get("AllowedValues")
    return f"One of {', '.join(f'`{value}`' for value in allowed)}. " if allowed else ""


def outputs() -> str:
    """The outputs of template.yaml."""
    return _table(
        ("output", "meaning"), [(f"`{name}`", about["Description"]) for name, about in _TEMPLATE["Outputs"].items()]
    )


def aws_limits() -> str:
    """The limits of AWS that the tests enforce on every call."""
    sys.path.insert(0, str(_ROOT / "tests"))
    from limit_table import LIMITS  # type: ignore[import-not-found]  # noqa: PLC0415 - of the tests

    rows = [(name, f"{limit.most:,}", limit.of, limit.source) for name, limit in LIMITS.items()]
    return _table(("limit", "most", "of", "source"), rows)


def exit_codes() -> str:
    """The exit codes of the CLI."""
    return _table(("code", "meaning"), _members(Exit))


def checks() -> str:
    """The doctor's free checks."""
    rows = [
        (f"{check.name}{'' if check.emulated else ' *'}", check.about, _names(check.needs), check.remedy)
        for check in CHECKS
    ]
    return _table(("check", "passes if", "permissions", "otherwise"), rows)


def facts() -> str:
    """What `seedance doctor --spend` asks the provider."""
    return _table(("line", "the fact", "source"), [(fact.name, fact.about, fact.source) for fact in FACTS])


def commands() -> str:
    """The CLI's commands, each with its options."""
    group: Any = typer.main.get_command(app)
    return "\n\n".join(_command(name, command) for name, command in group.commands.items())


def _command(name: str, command: Any) -> str:
    arguments = [each.metavar or each.name.upper() for each in command.params if each.param_type_name == "argument"]
    title = " ".join(["seedance", name, *arguments])
    rows = [
        (f"`{', '.join(each.opts)}`", each.help or "")
        for each in command.params
        if each.param_type_name == "option" and each.name not in _EVERYWHERE
    ]
    table = f"\n\n{_table(('option', 'meaning'), rows)}" if rows else ""
    about = "\n\n".join(textwrap.fill(paragraph, 120) for paragraph in (command.help or "").split("\n\n"))
    return f"### `{title}`\n\n{about}{table}"


def _members(kind: type[Enum]) -> list[tuple[str, str]]:
    """An enumeration's values, each with the docstring below it."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)  # noqa: S101
    meanings = {
        line.targets[0].id: inspect.cleandoc(below.value.value).replace("``", "`")  # type: ignore[attr-defined]
        for line, below in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(line, ast.Assign) and isinstance(below, ast.Expr)
    }
    return [(f"`{member.value}`", meanings[name]) for name, member in kind.__members__.items()]


def _names(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: tuple[str, ...], rows: Any) -> str:
    return "\n".join(_line(cells) for cells in [head, ("---",) * len(head), *rows])


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
