"""kvcalc models: the catalogue, one model, and the schema of model files."""

import json as json_module
from typing import Annotated, Any

import typer

from kvcalc.catalogue import find_model
from kvcalc.cli.options import (
    FormatOption,
    JsonOption,
    OutputOption,
    TextCommand,
    TextGroup,
    chosen_format,
    chosen_unit,
    option,
)
from kvcalc.cli.output import deliver, show
from kvcalc.cli.question import assumed_of
from kvcalc.cli.scenario_options import MODEL_HELP, takes
from kvcalc.errors import KvcalcError
from kvcalc.model.model import Model
from kvcalc.render.listing import model_report, models_report
from kvcalc.verbs.listing import list_models, show_model


def register(app: typer.Typer) -> None:
    """Add the commands."""
    models = typer.Typer(help="The models that kvcalc knows.", cls=TextGroup, no_args_is_help=True)
    models.command("list", cls=TextCommand)(list_command)
    models.command("show", cls=TextCommand)(show_command)
    models.command("import", cls=TextCommand)(import_command)
    models.command("schema", cls=TextCommand)(schema_command)
    app.add_typer(models, name="models")


def list_command(
    how: FormatOption = None,
    json: JsonOption = False,
    output_file: OutputOption = None,
    unit: Annotated[str, option("--unit", metavar="UNIT", text="Unit of sizes on the screen: B, KiB, MiB ...")] = "B",
) -> None:
    """Every model of the catalogue."""
    show(models_report(list_models(), chosen_unit(unit)), chosen_format(how, json=json), output_file)


@takes(("assume",))
def show_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)],
    how: FormatOption = None,
    json: JsonOption = False,
    output_file: OutputOption = None,
    **given: Any,
) -> None:
    """One model, as its YAML file has it: a start for a file of your own."""
    found = find_model(model, assumed_of(given["assume"]))
    show(model_report(show_model(found.model, found.text)), chosen_format(how, json=json), output_file)


@takes(("assume",))
def import_command(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A config.json or its folder, a .gguf, or hf:ORG/NAME.")
    ],
    output_file: OutputOption = None,
    **given: Any,
) -> None:
    """A model as YAML, with a comment beside every field that says where it came from."""
    found = find_model(source, assumed_of(given["assume"]))
    if found.written is None:
        raise KvcalcError(f"import: {found.origin} is a model file already (kvcalc models show prints it)")
    deliver(found.written, output_file)


def schema_command(output_file: OutputOption = None) -> None:
    """The JSON Schema of model files, for editors that check YAML."""
    from kvcalc.catalogue.validation import json_schema  # noqa: PLC0415  # pydantic, for this command only

    deliver(json_module.dumps(json_schema(Model), indent=2) + "\n", output_file)
