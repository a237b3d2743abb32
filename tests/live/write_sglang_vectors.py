"""Writes tests/data/sglang/defaults.json: what SGLang's own code sets where nobody says, by version.

    python tests/live/write_sglang_vectors.py WHEEL...

Versions that set the same share one record.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from zipfile import Path as ZipPath

import sglang_defaults

OUT = Path(__file__).parents[1] / "data" / "sglang" / "defaults.json"
ORDER = (
    "card",
    "tp",
    "dp_attention",
    "latent",
    "prefill_graphs",
    "chunked_prefill_size",
    "cuda_graph_max_bs",
    "mem_fraction_static",
)


def lines_of(package: ZipPath | Path) -> tuple[str, ...]:
    """One line of JSON a case."""
    source = sglang_defaults.functions(package)
    asked = ({**case, **sglang_defaults.run(source, case)} for case in sglang_defaults.cases())
    return tuple(json.dumps([record[name] for name in ORDER]) for record in asked)


def version_key(version: str) -> tuple[int, ...]:
    """0.5.6.post2 -> (0, 5, 6, 2)."""
    return tuple(int(part.removeprefix("post")) for part in version.split("."))


def write(wheels: dict[str, ZipPath | Path]) -> None:
    """One record for versions that agree."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for version in sorted(wheels, key=version_key):
        alike.setdefault(lines_of(wheels[version]), []).append(version)
    records = [
        f'{{"versions": {json.dumps(versions)},\n"says": [\n' + ",\n".join(lines) + "\n]}"
        for lines, versions in alike.items()
    ]
    OUT.write_text(
        f'{{"order": {json.dumps(ORDER)},\n"records": [\n' + ",\n".join(records) + "\n]}\n", encoding="utf-8"
    )


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]]
    write({path.name.split("-")[1]: ZipPath(path) / "sglang" for path in paths})
