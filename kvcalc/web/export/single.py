"""The page as one HTML file, which opens from a disk: everything that it would ask a server for stands in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from typing import TYPE_CHECKING

from kvcalc.web.export.page_files import INDEX, NOTICE
from kvcalc.web.export.policy import with_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

_STYLE = re.compile(r'<link rel="stylesheet" href="([\w.-]+)">')
_SCRIPT = re.compile(r'<script type="module" src="([\w.-]+)"></script>')
_PACKED = (b"\x1f\x8b", b"PK")
"""How files begin that are compressed already."""
_RUN_AS_IT_IS = "worker.js"


def single_file(files: Mapping[str, bytes]) -> str:
    """One page of the files of an exported page."""
    html = files[INDEX].decode()
    used: set[str] = {INDEX, NOTICE}

    def inlined(pattern: re.Pattern[str], opening: str, closing: str) -> list[str]:
        nonlocal html
        texts = []
        for found in reversed(list(pattern.finditer(html))):
            text = files[found[1]].decode().replace("</script", r"<\/script")
            used.add(found[1])
            texts.append(text)
            html = html[: found.start()] + opening + text + closing + html[found.end() :]
        return texts

    styles = inlined(_STYLE, "<style>", "</style>")
    scripts = inlined(_SCRIPT, '<script type="module">', "</script>")
    html = with_policy(
        html,
        {
            "script-src": " ".join([*map(_hash, scripts), "'wasm-unsafe-eval'", "blob:"]),
            "style-src": " ".join(map(_hash, styles)),
            "worker-src": "blob:",
            "connect-src": "",
        },
    )
    rest = "".join(_as_script(name, files[name]) for name in sorted(files.keys() - used))
    before, end, after = html.partition("</body>")
    return f"{before}<!--\n{files[NOTICE].decode()}-->\n{rest}{end}{after}"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _as_script(name: str, data: bytes) -> str:
    """A file as text that is not run, in base64."""
    packed = data if data.startswith(_PACKED) or name == _RUN_AS_IT_IS else gzip.compress(data, 9, mtime=0)
    return f'<script type="application/octet-stream" data-file="{name}">{base64.b64encode(packed).decode()}</script>\n'
