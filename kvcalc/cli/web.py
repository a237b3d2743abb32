"""kvcalc web: the calculator as a page in the browser."""

import sys
from typing import Annotated, Any, TypedDict

import typer

from kvcalc.cli.parameters import takes
from kvcalc.cli.text_command import TextCommand
from kvcalc.errors import KvcalcError
from kvcalc.scenario.option import Option
from kvcalc.scenario.reading import count

MOST_PORT = 65_535


class Served(TypedDict, total=False):
    """Where the page is, and what opens it."""

    port: Annotated[str | None, Option("N", "Port of 127.0.0.1 (a free one).", read=count(MOST_PORT, least=0))]
    no_open: Annotated[bool, Option("", "Do not open the browser.", default=False)]


class PageExport(TypedDict, total=False):
    """The page as files that need no kvcalc: where they are written, and what of others they are made of."""

    export: Annotated[
        str | None, Option("DIR", "Write the page as static files into DIR instead; it then computes in the browser.")
    ]
    single: Annotated[bool, Option("", "With --export FILE: one HTML file, which opens from a disk.", default=False)]
    pyodide: Annotated[
        str | None,
        Option("DIR", "With --export: keep downloads (9 MB of Pyodide and pydantic) in DIR, and read them there."),
    ]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("web", cls=TextCommand)(web_command)


@takes(Served, PageExport)
def web_command(**given: Any) -> None:
    """The calculator as a page in the browser, for this machine alone (127.0.0.1)."""
    export = given.get("export")
    if export is not None:
        from kvcalc.cli.page_export import export_page

        export_page(export, given.get("pyodide"), single=bool(given.get("single")))
        return
    if given.get("single") or given.get("pyodide") is not None:
        raise KvcalcError(f"--{'single' if given['single'] else 'pyodide'}: add --export, and where to")
    from kvcalc.scenario.option import read_options
    from kvcalc.web.server import PageServer

    with PageServer(read_options(Served, {"port": given.get("port")})["port"] or 0) as server:
        sys.stdout.write(f"{server.address} (Ctrl-C ends it)\n")
        sys.stdout.flush()
        if not given.get("no_open"):
            _open(server.address)
        server.serve_forever()


def _open(address: str) -> None:
    """In a thread: some browsers are programs of the terminal, and take it until they end."""
    import webbrowser
    from threading import Thread

    Thread(target=webbrowser.open, args=(address,), daemon=True).start()
