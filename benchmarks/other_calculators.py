"""kvcalc and other calculators on eight models, each of which has a trap: the bytes of one sequence's cache in bf16.

    python benchmarks/other_calculators.py [--write]

Each model is given as the keys of its published config.json that say something of its shape, to all alike. The other
calculators are installed from the package index into virtual environments of their own under build/, at the versions
below, and asked through the function behind their command. What is right is arithmetic on the published shapes, written
out here. --write renews docs/other-calculators.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import kvcalc
from kvcalc.errors import KvcalcError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "other-calculators.md"
CONTEXTS = (8192, 131_072)
BF16 = 2


class Trap(NamedTuple):
    """A model, what is hard about it, and the bytes that are right.

    Attributes:
        repository: on the Hub.
        growing: bytes of a token in layers that keep every token.
        windowed: bytes of a token in layers with a window, and the window.
        fixed: bytes whatever the context is.
    """

    repository: str
    trap: str
    growing: int
    windowed: tuple[int, int] = (0, 0)
    fixed: int = 0

    def right(self, context: int) -> int:
        """Bytes of one sequence."""
        of_a_token, window = self.windowed
        return self.growing * context + of_a_token * min(window, context) + self.fixed


def _config(
    architecture: str, model_type: str, hidden_size: int, layers: int, heads: int, **more: Any
) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "torch_dtype": "bfloat16",
        "max_position_embeddings": 131_072,
        **more,
    }


_GEMMA = _config(
    "Gemma3ForConditionalGeneration",
    "gemma3_text",
    5376,
    62,
    32,
    num_key_value_heads=16,
    head_dim=128,
    intermediate_size=21_504,
    sliding_window=1024,
    vocab_size=262_208,
)
_NEXT = {
    "num_key_value_heads": 2,
    "head_dim": 256,
    "full_attention_interval": 4,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
    "intermediate_size": 5120,
    "moe_intermediate_size": 512,
    "shared_expert_intermediate_size": 512,
    "num_experts": 512,
    "num_experts_per_tok": 10,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "vocab_size": 151_936,
}
_LATENT = {
    "num_key_value_heads": 128,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "intermediate_size": 18_432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "moe_layer_freq": 1,
    "num_nextn_predict_layers": 1,
    "vocab_size": 129_280,
}
_OSS = {
    "num_key_value_heads": 8,
    "head_dim": 64,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 18,
    "intermediate_size": 2880,
    "num_local_experts": 128,
    "num_experts_per_tok": 4,
    "vocab_size": 201_088,
}

CONFIGS: dict[Trap, dict[str, Any]] = {
    Trap("meta-llama/Meta-Llama-3-70B", "8 KV heads, not 64", 80 * 2 * 8 * 128 * BF16): _config(
        "LlamaForCausalLM", "llama", 8192, 80, 64, num_key_value_heads=8, intermediate_size=28_672, vocab_size=128_256
    ),
    Trap("meta-llama/Llama-2-7b-hf", "as many KV heads as heads", 32 * 2 * 32 * 128 * BF16): _config(
        "LlamaForCausalLM", "llama", 4096, 32, 32, num_key_value_heads=32, intermediate_size=11_008, vocab_size=32_000
    ),
    Trap("tiiuae/falcon-7b", "multi_query: one KV head, though num_kv_heads is 71", 32 * 2 * 64 * BF16): _config(
        "FalconForCausalLM",
        "falcon",
        4544,
        32,
        71,
        num_kv_heads=71,
        multi_query=True,
        new_decoder_architecture=False,
        parallel_attn=True,
        bias=False,
        vocab_size=65_024,
    ),
    Trap("deepseek-ai/DeepSeek-V3", "a latent, though num_key_value_heads is 128", 61 * 576 * BF16): _config(
        "DeepseekV3ForCausalLM", "deepseek_v3", 7168, 61, 128, **_LATENT
    ),
    Trap("Qwen/Qwen3-8B", "head_dim is given", 36 * 2 * 8 * 128 * BF16): _config(
        "Qwen3ForCausalLM",
        "qwen3",
        4096,
        36,
        32,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=12_288,
        vocab_size=151_936,
    ),
    Trap(
        "google/gemma-3-27b-it",
        "windows in 52 of 62 layers, whose pattern the file leaves out",
        10 * 2 * 16 * 128 * BF16,
        (52 * 2 * 16 * 128 * BF16, 1024),
    ): {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": _GEMMA},
    Trap(
        "openai/gpt-oss-120b", "windows in every other layer", 18 * 2 * 512 * BF16, (18 * 2 * 512 * BF16, 128)
    ): _config("GptOssForCausalLM", "gpt_oss", 2880, 36, 64, **_OSS),
    Trap(
        "Qwen/Qwen3-Next-80B-A3B-Instruct",
        "36 of 48 layers keep a state",
        12 * 2 * 2 * 256 * BF16,
        fixed=36 * (32 * 128 * 128 * 4 + 3 * (2 * 16 * 128 + 32 * 128) * BF16),
    ): _config("Qwen3NextForCausalLM", "qwen3_next", 2048, 48, 16, **_NEXT),
}

_READ = "import json, sys; given = json.load(open(sys.argv[1])); context = int(sys.argv[2]); "
_TEXT = "text = given.get('text_config', given); "
CALCULATORS = {
    "kvfit==0.3.0": (
        "from kvfit.architectures import estimate_cache; "
        "print(estimate_cache(given, context_tokens=context).total_bytes)"
    ),
    "hf-mem==0.5.6": (
        f"{_TEXT}from hf_mem.safetensors.kv_cache import compute_safetensors_kv_cache_size as size; "
        "print(size(text, 'BF16', context))"
    ),
    "vramscout==0.7.0": (
        "from vramscout import modern_core as core; core._hub_metadata = lambda *_: (1, None); "
        "shape = core.inspect_modern_model(sys.argv[1]); "
        "print(sum(core._cache_parts(shape, context, 1, 'bf16', 'bf16', 1, 1).values()) * 2**30)"
    ),
    "modelinfo-cli==1.4.4": (
        "from modelinfo.calculator import calculate_footprint as size; "
        "print(size({'__metadata__': {'lazy_fetch': True}}, context, 1, given)['kv_cache_bytes'])"
    ),
}
"""A program for each, which prints the bytes."""


def main() -> None:
    """Ask all, and print or write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    with TemporaryDirectory() as folder:
        text = page({trap: answers(Path(folder), config) for trap, config in CONFIGS.items()})
    if write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)


def answers(folder: Path, config: dict[str, Any]) -> dict[str, list[float | None]]:
    """What each says at each context; None where it refuses or fails."""
    file = folder / "config.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    told: dict[str, list[float | None]] = {"kvcalc": [_kvcalc(file, context) for context in CONTEXTS]}
    for package, program in CALCULATORS.items():
        python = _installed(package)
        told[package] = [_asked(python, program, file, context) for context in CONTEXTS]
    return told


def _kvcalc(file: Path, context: int) -> float | None:
    try:
        return kvcalc.estimate(str(file), context=context, cache_dtype="bf16").cache.bytes
    except KvcalcError:
        return None


def _installed(package: str) -> Path:
    """Its interpreter, in an environment of its own under build/."""
    home = ROOT / "build" / "other-calculators" / package.replace("==", "-")
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
    return python


def _asked(python: Path, program: str, file: Path, context: int) -> float | None:
    run = subprocess.run(
        [python, "-c", _READ + program, file.resolve(), str(context)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return float(run.stdout.split()[-1]) if run.returncode == 0 and run.stdout.split() else None


def page(told: dict[Trap, dict[str, list[float | None]]]) -> str:
    """The Markdown of docs/other-calculators.md."""
    names = ["kvcalc", *CALCULATORS]
    rows = [
        f"| model | trap | {' | '.join(name.replace('==', ' ') for name in names)} |",
        "| --- " * (2 + len(names)) + "|",
    ]
    exact = dict.fromkeys(names, 0)
    for trap, by_name in told.items():
        cells = []
        for name in names:
            verdicts = [_verdict(said, trap, context) for said, context in zip(by_name[name], CONTEXTS, strict=True)]
            exact[name] += verdicts == ["exact"] * len(CONTEXTS)
            cells.append(verdicts[0] if len(set(verdicts)) == 1 else " and ".join(verdicts))
        rows.append(f"| {trap.repository} | {trap.trap} | {' | '.join(cells)} |")
    rows.append(f"| exact | | {' | '.join(f'{exact[name]} of {len(told)}' for name in names)} |")
    return _HEAD + "\n".join(rows) + "\n" + _TAIL


def _verdict(said: float | None, trap: Trap, context: int) -> str:
    right = trap.right(context)
    if said is None:
        return "refused"
    if round(said) == right:
        return "exact"
    if round(said) == (trap.growing + trap.windowed[0]) * context + trap.fixed:
        return "every layer full"
    return f"x {said / right:.3g}"


_HEAD = f"""# kvcalc beside other calculators

Eight published models, each with something that calculators stumble over. The bytes of one sequence's cache in bf16,
at {CONTEXTS[0]:,} and {CONTEXTS[1]:,} tokens, against arithmetic on the published shapes: *exact*; *every layer full*,
as if layers with windows kept every token; *x N* times what is right; *refused*. Two verdicts are of the two contexts.

"""

_TAIL = """
Written by `python benchmarks/other_calculators.py --write`, which anyone can run: it holds the shapes and the
arithmetic, and installs the other calculators from the package index at these versions. They are asked through the
function behind their command, all with the same keys. A layer that keeps every token is what some engines reserve where
windows are mixed with full layers; `kvcalc estimate --engine vllm` says what vLLM does.
"""

if __name__ == "__main__":
    main()
