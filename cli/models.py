"""`seedance models`: the models, and what each of them takes."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text
from seedance.jobs import allowed, catalogue
from seedance.jobs.catalogue import Model

from cli import show
from cli.options import complete_model, out
from cli.output import emit_line, say
from cli.target import usage


def models(
    model: Annotated[str | None, typer.Argument(help="Only this model.", autocompletion=complete_model)] = None,
) -> None:
    """Show the models with the provider's average price and duration, or the parameters of one model.

    With --json, one line for each model, its parameters as JSON Schema.
    """
    with usage():
        chosen = catalogue.find(model) if model is not None else None
    for each in catalogue.describe():
        if chosen is None or each["model"] == chosen.slug:
            emit_line(each)
    if chosen is None:
        out.print(_averages(list(catalogue.MODELS.values())))
        say("\n`seedance models MODEL` shows a model's parameters.")
    else:
        out.print(_parameters(chosen))


def _averages(every: Sequence[Model]) -> Table:
    table = show.grid("Model", "Average", "Time", "Resolutions", "Seconds", right=("Average", "Time"), whole=("Model",))
    for model in every:
        fields = _fields(model)
        listed = [", ".join(map(str, fields[name]["enum"])) for name in ("resolution", "duration")]
        usual = show.duration(model.average_seconds)
        table.add_row(*map(Text, (model.slug, show.money(model.average_usd), usual, *listed)))
    return table


def _parameters(model: Model) -> Table:
    table = show.grid("Parameter", "Default", "Allowed", whole=("Parameter",))
    for name, field in _fields(model).items():
        about = f". {field['description']}" if "description" in field else ""
        default = field.get("default")
        written = "required" if "default" not in field else "" if default in (None, []) else json.dumps(default)
        table.add_row(*map(Text, (name, written.strip('"'), allowed.words(model.parameters, name) + about)))
    return table


def _fields(model: Model) -> dict[str, Any]:
    schema = model.parameters.model_json_schema()["properties"]
    return {name: schema[name] for name in model.names}
