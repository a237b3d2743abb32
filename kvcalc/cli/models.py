"""kvcalc models: the catalogue, one model, and the schema of model files."""

import json as json_module
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import typer

from kvcalc.catalogue import find_model
from kvcalc.catalogue.complete import lacks
from kvcalc.cli.output import deliver, show
from kvcalc.cli.output_options import Destination, Printed, UnitOfBytes, output_of
from kvcalc.cli.parameters import RequiredModel, argument, given_on_line, takes
from kvcalc.cli.text_command import TextCommand, TextGroup
from kvcalc.errors import KvcalcError
from kvcalc.model.model import Model
from kvcalc.render import Format
from kvcalc.render.screens.listing import model_report, models_report
from kvcalc.scenario.option import Option, read_options
from kvcalc.scenario.options import Assumptions
from kvcalc.verbs.listing.catalogue import show_model
from kvcalc.verbs.listing.model_list import list_models
from kvcalc.verbs.listing.model_list_options import WORD, Chosen, TriedWith

SOURCE = Option("SOURCE", "A config.json or its folder, a .gguf, or hf:ORG/NAME.")


class Entry(TypedDict, total=False):
    """What no config.json says of a model."""

    hub_id: Annotated[
        list[str] | None,
        Option("ORG/NAME", "Name on the Hub of the model that is written; repeatable.", repeatable=True),
    ]
    source: Annotated[str | None, Option("TEXT", "Where its figures come from, such as the address of the file.")]


def _outputs() -> Iterable[str]:
    from kvcalc.schema import commands  # every result, for completion only

    return (*commands(), "sweep")


class OfOutput(TypedDict, total=False):
    """What a schema describes instead of model files."""

    of: Annotated[
        str | None,
        Option(
            "COMMAND", "What COMMAND prints with --json: estimate, models-list ...; of sweep a line.", values=_outputs
        ),
    ]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    models = typer.Typer(help="The models that kvcalc knows.", cls=TextGroup)
    models.command("list", cls=TextCommand)(list_command)
    models.command("show", cls=TextCommand)(show_command)
    models.command("import", cls=TextCommand)(import_command)
    models.command("schema", cls=TextCommand)(schema_command)
    app.add_typer(models, name="models")


@takes(Chosen, TriedWith, Printed, Destination, UnitOfBytes)
def list_command(word: Annotated[str | None, argument(WORD)] = None, **given: Any) -> None:
    """The models of the catalogue: all of them, those that a word names, those that run on an accelerator."""
    output = output_of(given, default_unit="B")
    found = list_models(
        word,
        kind=given["kind"],
        sort=given["sort"],
        fits=given["fits"],
        options=given_on_line(given, TriedWith),
    )
    show(models_report(found, output.unit), output)


@takes(Assumptions, Printed, Destination)
def show_command(model: RequiredModel, **given: Any) -> None:
    """One model, as its YAML file has it: a start for a file of your own."""
    found = find_model(model, _assumed(given))
    if not (given.get("how") or given.get("json")) and str(given.get("output_file")).lower().endswith(
        (".yaml", ".yml")
    ):
        given["how"] = Format.TABLE  # what is printed for people is YAML
    show(model_report(show_model(found.model, found.text)), output_of(given))


@takes(Assumptions, Entry, Destination)
def import_command(model: Annotated[str, argument(SOURCE)], **given: Any) -> None:
    """A model as YAML, with a comment beside every field that says where it came from.

    Its name is that of the file that is written.
    """
    found = find_model(model, _assumed(given))
    if found.imported is None:
        raise KvcalcError(f"import: {found.origin} is a model file already (kvcalc models show prints it)")
    target = given["output_file"]
    name = None if target in (None, "-") else Path(target).stem
    entry = found.imported.entry(name, tuple(given["hub_id"] or ()), given["source"])
    deliver(entry.text, target)
    if (given["hub_id"] or given["source"]) and (missing := lacks(entry.model)):
        sys.stderr.write(f"note: an entry of the catalogue has more: {', '.join(missing)}\n")


@takes(OfOutput, Destination)
def schema_command(**given: Any) -> None:
    """The JSON Schema of model files, for editors that check YAML; with --of, of what a command prints as JSON."""
    from kvcalc.catalogue.validation import json_schema  # pydantic, for this command only
    from kvcalc.schema import output_schema  # every result, likewise

    schema = json_schema(Model) if given["of"] is None else output_schema(given["of"])
    deliver(json_module.dumps(schema, indent=2) + "\n", given["output_file"])


def _assumed(given: dict[str, Any]) -> dict[str, Any]:
    return read_options(Assumptions, {"assume": given["assume"] or None})["assume"] or {}
