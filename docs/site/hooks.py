"""What mkdocs asks for while it builds: pages that are written from the code, and their place among the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
from pages import pages  # it lies beside this file

ROOT = Path(__file__).parents[2]


SECTIONS = {
    "engines": "Engines",
    "commands": "Reference",
    "mechanisms": "Reference",
    "reference": "Reference",
    "decisions": "Contribute",
}
"""Where the pages of a folder stand: a section of mkdocs.yml."""


def on_config(config: Any) -> Any:
    """The pages of each folder join a section: those that are written from the code, and the decisions.

    Raises:
        KeyError: A folder has no section.
    """
    sections = {title: entries for section in config.nav for title, entries in section.items()}
    folders: dict[str, list[str]] = {}
    written = [path for path in pages() if "/" in path]
    decisions = [f"decisions/{path.name}" for path in (ROOT / "docs" / "decisions").glob("*.md")]
    for path in sorted((*written, *decisions)):
        folders.setdefault(path.split("/")[0], []).append(path)
    for folder, paths in folders.items():
        section, title = SECTIONS[folder], folder.capitalize()
        sections[section] += paths if title == section else [{title: paths}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """The pages themselves, and the README as the first one."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace("](docs/", "](")
    readme = readme.replace("](CONTRIBUTING.md)", "](https://github.com/kvcalc/kvcalc)")
    for path, text in {**pages(), "index.md": readme}.items():
        if existing := files.get_file_from_path(path):
            files.remove(existing)
        files.append(File.generated(config, path, content=text))
    return files
