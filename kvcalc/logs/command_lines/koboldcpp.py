"""`koboldcpp --model FILE`, as the line of llama-server with the same memory.

koboldcpp 1.113: koboldcpp.py, the arguments and load_model; gpttype_adapter.cpp, gpttype_load_model: one sequence in
cells that all share, 128 tokens beside the context, micro-batches as long as batches, logits of every token, flash
attention unless it is switched off, and whole caches of layers with windows unless --useswa is there (from the next
version on it is the default: https://github.com/LostRuins/koboldcpp/issues/2235).
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError
from kvcalc.logs.command_lines.relayed import Program, Relayed, Taken, as_table, count

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAM = re.compile(
    r"koboldcpp(?:[-_](?:linux|mac|x64|arm64|nocuda|cu\d*|cuda\d*|oldcpu|oldpc|rocm))*(?:\.py|\.exe)?", re.IGNORECASE
)
"""As releases name it: koboldcpp_cu12.exe, koboldcpp-linux-x64-nocuda, koboldcpp-mac-arm64, koboldcpp_rocm.exe."""
_MORE_TOKENS = 128
"""extra_context_handle_fragmentation."""
_CONTEXT, _BATCH = "8192", "512"
_TYPES = {"0": "f16", "1": "q8_0", "2": "q4_0", "3": "bf16"}
"""Of --quantkv as older lines have it."""
_KINDS = frozenset({"f16", "bf16", "q8_0", "q5_1", "q4_0"})
_NOT_ALL = "-1"

PROGRAM = Program(
    "koboldcpp",
    names=as_table(
        """
model model_param
contextsize ctx_size
gpulayers gpu_layers n_gpu_layers
tensor_split tensorsplit
batchsize blasbatchsize batch_size
splitmode split_mode
quantkv
moecpu n_cpu_moe
overridetensors override_tensor
mmproj
mmprojcpu no_mmproj_offload
noflashattention no_flash_attn
lowvram no_kv_offload
useswa
usecuda usecublas usehipblas
continuous_batching contbatch
"""
    ),
    short=MappingProxyType(
        {"-m": "model", "-c": "contextsize", "-ngl": "gpulayers", "-ts": "tensor_split", "-b": "batchsize"}
        | {"-sm": "splitmode", "-ncmoe": "moecpu", "-ot": "overridetensors", "-nkvo": "lowvram"}
        | {"-nofa": "noflashattention", "-md": "draftmodel", "-fit": "autofit"}
    ),
    switches=frozenset(
        {"mmprojcpu", "no_mmproj_offload", "noflashattention", "no_flash_attn", "lowvram", "no_kv_offload", "useswa"}
        | {"flashattention", "autofit", "fit", "enableguidance", "usemtp", "usecuda", "usecublas", "usehipblas"}
        | {"quiet", "skiplauncher", "launch", "usemmap", "nommap", "usemlock", "mlock", "highpriority", "noshift"}
        | {"nofastforward", "usecpu", "nommq", "jinja", "showgui", "websearch", "multiplayer", "foreground"}
    ),
    lists=frozenset({"tensor_split", "tensorsplit", "usevulkan", "usecuda", "usecublas", "usehipblas", "ropeconfig"}),
    refused=frozenset(
        {"config", "draftmodel", "model_draft", "usemtp", "lora", "autofit", "fit", "enableguidance", "swapadding"}
        | {"overridekv", "override_kv", "moeexperts", "ffncpu", "rpc", "usecpu", "sdmodel", "whispermodel", "ttsmodel"}
        | {"embeddingsmodel", "musicllm", "musicdiffusion"}
    ),
    harmless=frozenset(
        {"port", "host", "threads", "blasthreads", "batchthreads", "launch", "quiet", "skiplauncher", "showgui"}
        | {"multiuser", "smartcache", "smartcontext", "noshift", "no_context_shift", "nofastforward", "usemmap"}
        | {"nommap", "usemlock", "mlock", "highpriority", "debugmode", "ropeconfig", "flashattention", "nommq"}
        | {"usevulkan", "maingpu", "main_gpu", "jinja", "websearch", "multiplayer", "foreground", "password", "ssl"}
        | {"chatcompletionsadapter", "preloadstory", "savedatafile", "remotetunnel", "onready", "benchmark", "prompt"}
        | {"genlimit", "promptlimit", "defaultgenamt", "admin", "admindir", "gendefaults", "maxrequestsize"}
        | {"visionmaxres", "ttsgpu", "noavx2", "failsafe", "ignoremissing", "singleinstance", "nocertify"}
    ),
    bare=MappingProxyType({"moecpu": "999", "gpulayers": "1"}),
)


def is_program(name: str) -> bool:
    """Whether a word, without the folders before it, is the program."""
    return _PROGRAM.fullmatch(name) is not None


def relayed(arguments: Sequence[str], option: str) -> Relayed:
    """What its line tells llama.cpp.

    Args:
        arguments: behind the program.
        option: of kvcalc, in messages.

    Raises:
        KvcalcError: it names no model, leaves the layers on the card to koboldcpp, or changes memory in a way that is
            not followed.
    """
    told, others, further = PROGRAM.told(arguments, option)
    model = told.get("model") or next((each for each in others if not each.isdecimal()), None)
    if model is None:
        raise KvcalcError(f"{option}: the line names no model; put --model FILE behind koboldcpp")
    layers = told.get("gpulayers", _NOT_ALL)
    if layers == _NOT_ALL:
        raise KvcalcError(
            f"{option}: --gpulayers is left to koboldcpp, whose choice kvcalc does not follow; put --gpulayers N "
            "there, 999 for all layers"
        )
    context = count(told.get("contextsize", _CONTEXT), "--contextsize", option, 256, 10**9)
    batch = str(count(told.get("batchsize", _BATCH), "--batchsize", option, 16, 10**6))
    slots = count(told.get("continuous_batching", "0"), "--continuous-batching", option, 0, 64) + 1
    flash = "noflashattention" not in told
    kind = told.get("quantkv", "f16").lower()
    kind = _TYPES.get(kind, kind)
    if kind not in _KINDS:
        raise KvcalcError(f"{option}: --quantkv {kind[:20]} is none of {', '.join(sorted(_KINDS))}")
    values = kind if flash or kind == "bf16" else "f16"
    words = ["-m", model, "-c", str(context + _MORE_TOKENS), "-np", str(slots), "-kvu", "-b", batch, "-ub", batch]
    words += ["-ngl", layers, "-fa", "on" if flash else "off", "-ctk", kind, "-ctv", values]
    given = (
        ("-ts", "tensor_split"),
        ("-sm", "splitmode"),
        ("-ncmoe", "moecpu"),
        ("-ot", "overridetensors"),
        ("--mmproj", "mmproj"),
    )
    words += [word for flag, name in given if name in told for word in (flag, told[name])]
    card = told.get("usecuda", "").split(",")
    words += ["-sm", "row"] if "rowsplit" in card else []
    words += ["-nkvo"] if "lowvram" in told or "lowvram" in card else []
    words += ["--no-mmproj-offload"] if "mmprojcpu" in told else []
    taken = [Taken(f"koboldcpp reserves {_MORE_TOKENS} tokens beside the context, and logits of every token of a step")]
    if "useswa" not in told:
        words.append("--swa-full")
        text = (
            "layers with windows keep the whole context, as in koboldcpp up to 1.113 without --useswa; later versions "
            "use windows, which --useswa in the line counts"
        )
        taken.append(Taken(text, of_windows=True))
    return Relayed((*words, *further), {"n-outputs-max": "0"}, tuple(taken))
