"""kvcalc web --export: the page as files, and what is said of them."""

import sys
from pathlib import Path

from kvcalc.cli.destination import refuse_unwritable, write_to
from kvcalc.errors import KvcalcError
from kvcalc.web.export.folder import refuse_folder, write_folder
from kvcalc.web.export.page_files import hosted, page_files
from kvcalc.web.export.single import single_file

_MB = 1_000_000


def export_page(name: str, downloads: str | None, *, single: bool) -> None:
    """Write the page into a folder, or into one file.

    Args:
        name: of the folder, or of the file.
        downloads: the folder that --pyodide names.
        single: whether it is one file.

    Raises:
        KvcalcError: it cannot be written there, or a download cannot be had.
    """
    if not name:
        raise KvcalcError("--export: names no folder")
    if single:
        refuse_unwritable(name)
    else:
        refuse_folder(Path(name))
    page = page_files(None if downloads is None else Path(downloads))
    if single:
        text = single_file(page.files)
        write_to(name, text)
        size = len(text)
    else:
        files = hosted(page.files)
        write_folder(Path(name), files)
        size = sum(map(len, files.values()))
    slower = "" if page.compiled else "; with Node.js 18 or later (node) here it would start in half the time"
    sys.stderr.write(f"{name}: {size / _MB:.1f} MB{slower}\n")
