"""Writes tests/data/flags: of the flags that kvcalc emits, those that each version's own argument parser has.

    python tests/live/write_flags.py vllm FOLDER...     # each the contents of a wheel, in a folder named as its version
    python tests/live/write_flags.py sglang FOLDER...
    python tests/live/write_flags.py llama-server WHEEL... # of xllamacpp, whose library has all of common/arg.cpp

A flag is there where the file that makes the parser has it, written out or as a field of its dataclass; `--no-NAME` is
where argparse.BooleanOptionalAction makes it. Of llama-server, what is read of a line is there where the library has
the word; what is emitted is written by hand, and so is TensorRT-LLM's list, with their sources beside them.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from zipfile import Path as ZipPath
from zipfile import ZipFile

OUT = Path(__file__).parents[1] / "data" / "flags"
FLAGS = {
    "vllm": """
        --tensor-parallel-size --pipeline-parallel-size --data-parallel-size --decode-context-parallel-size
        --enable-expert-parallel --distributed-executor-backend --max-model-len --max-num-seqs
        --max-num-batched-tokens --kv-cache-dtype --gpu-memory-utilization --dtype --quantization --block-size
        --kv-cache-memory-bytes --performance-mode --moe-backend --enable-prefix-caching --no-enable-prefix-caching
        --disable-hybrid-kv-cache-manager --no-disable-hybrid-kv-cache-manager --enforce-eager
        --mamba-ssm-cache-dtype --speculative-config --enable-lora --max-lora-rank --max-loras --revision
        --lora-target-modules --async-scheduling --no-async-scheduling --enable-chunked-prefill
        --no-enable-chunked-prefill --gdn-prefill-backend
        """,
    "sglang": """
        --model-path --tp-size --pp-size --dp-size --ep-size --attn-dp-size --enable-dp-attention
        --context-length --kv-cache-dtype --dtype --quantization --mem-fraction-static --swa-full-tokens-ratio
        --mamba-full-memory-ratio --page-size --chunked-prefill-size --max-running-requests --max-total-tokens
        --max-mamba-cache-size --cuda-graph-max-bs --cuda-graph-max-bs-decode --disable-radix-cache
        --disable-hybrid-swa-memory --disable-cuda-graph --mamba-ssm-dtype --speculative-algorithm
        --speculative-num-steps --speculative-eagle-topk --speculative-num-draft-tokens --enable-lora
        --max-lora-rank --lora-target-modules --max-loras-per-batch --revision
        """,
}
SOURCES = {
    "vllm": "vllm/engine/arg_utils.py, EngineArgs.add_cli_args, of each version's wheel",
    "sglang": "sglang/srt/server_args.py and sglang/srt/arg_groups/fields of each version's wheel",
}


def text_of(engine: str, folder: Path | ZipPath) -> str:
    """The source of the parser of a wheel that is unpacked."""
    if engine == "vllm":
        return (folder / "vllm/engine/arg_utils.py").read_text(encoding="utf-8")
    root = folder / "sglang" / "srt"
    fields = root / "arg_groups" / "fields"
    files = [root / "server_args.py", *(fields.iterdir() if fields.is_dir() else ())]
    return "\n".join(file.read_text(encoding="utf-8") for file in files if file.name.endswith(".py"))


def has(engine: str, text: str, flag: str) -> bool:
    """Whether that parser has the flag."""
    if re.search(rf"[\"']{flag}[\"']", text):
        return True
    if flag.startswith("--no-"):
        return has(engine, text, f"--{flag[5:]}") and "BooleanOptionalAction" in text
    field = flag[2:].replace("-", "_")
    made = re.search(rf"^    {field}: A\[(.*?)^    (?:\] = |\w+: )", text, re.MULTILINE | re.DOTALL)
    return engine == "sglang" and made is not None and "no_cli=True" not in made[1]


def main(engine: str, folders: list[str]) -> None:
    """Writes the file of an engine: of each flag the first and the last version that has it."""
    in_order = sorted(map(Path, folders), key=lambda path: [int(part) for part in re.findall(r"\d+", path.name)])
    texts = {folder.name: text_of(engine, folder) for folder in in_order}
    flags = {}
    for flag in FLAGS[engine].split():
        having = [version for version, text in texts.items() if has(engine, text, flag)]
        flags[flag] = [having[0], having[-1]]
    kept = {"source": SOURCES[engine], "versions": " ".join(texts), "flags": flags}
    (OUT / f"{engine}.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def write_llama_server(wheels: list[str]) -> None:
    """Writes which flags and variables that kvcalc reads are in a library of those wheels."""
    from kvcalc.logs.command_lines.llama_server import READ  # of one engine alone

    libraries = []
    for wheel in wheels:
        with ZipFile(wheel) as archive:
            libraries.append(next(archive.read(name) for name in archive.namelist() if name.endswith(".so")))
    file = OUT / "llama-server.json"
    kept = json.loads(file.read_text(encoding="utf-8"))
    kept["read"] = [word for word in sorted(READ) if any(f"{word}\0".encode() in each for each in libraries)]
    kept["read from"] = " ".join(Path(wheel).name for wheel in wheels)
    file.write_text(json.dumps(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "llama-server":
        write_llama_server(sys.argv[2:])
    else:
        main(sys.argv[1], sys.argv[2:])
