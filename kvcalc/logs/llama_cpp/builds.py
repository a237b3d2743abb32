"""Lines that tell of which builds a log may be, where it does not say its build: names of functions change.

Each build of a range may have such a line, and the next that was looked at has none: b8672, b8929, b9093, b9294, b9538,
b9713, b9873 and b10068, as xllamacpp has them.
"""

from __future__ import annotations

from kvcalc.logs.dialect import log_line
from kvcalc.logs.llama_cpp.figures import DEVICE

_CONTEXT = r"(?:llama_context|llama_new_context_with_model|llama_init_from_model)"

LINES = (
    log_line("n_ctx_seq ", r"llama_context: n_ctx_seq +=", "b6924 to b11549", "src/llama-context.cpp"),
    log_line("n_ctx_per_seq ", r"llama_context: n_ctx_per_seq +=", "up to b6923", "src/llama-context.cpp"),
    log_line(
        "flash_attn",
        rf"{_CONTEXT}: flash_attn += (?:auto|enabled|disabled)",
        "b6325 to b11549",
        "src/llama-context.cpp; 0 or 1 before",
    ),
    log_line(
        "compute buffer size",
        rf"{_CONTEXT}: +{DEVICE} compute buffer size",
        "up to b7700: the function that prints it was split in two (https://github.com/ggml-org/llama.cpp/pull/18547)",
        "src/llama-context.cpp, llama_context",
    ),
    log_line("llama_params_fit_impl", r"llama_params_fit_impl:", "up to b8928", "src/llama.cpp"),
    log_line("llama_memory_breakdown", r"llama_memory_breakdown_print:", "up to b8928", "src/llama-context.cpp"),
    log_line("common_params_fit_impl", r"common_params_fit_impl:", "b8673 to b11549", "common/fit.cpp"),
    log_line("common_memory_breakdown", r"common_memory_breakdown_print:", "b8673 to b11549", "common/fit.cpp"),
    log_line("using device", r"llama_model_load_from_file_impl: using device", "up to b9092", "src/llama.cpp"),
    log_line("prepare_model_devices", r"llama_prepare_model_devices:", "b8930 to b11549", "src/llama.cpp"),
    log_line("common_params_print_info", r"common_params_print_info:", "b9094 to b11549", "common/common.cpp"),
    log_line("n_rs_seq", r"llama_context: n_rs_seq +=", "b9094 to b11549", "src/llama-context.cpp"),
    log_line(
        "n_outputs_max",
        r"llama_context: n_outputs_max +=",
        "b9460 to b11549: https://github.com/ggml-org/llama.cpp/pull/23861",
        "src/llama-context.cpp",
    ),
    log_line("initializing slots", r"initializing slots, n_slots", "up to b9872", "tools/server/server-context.cpp"),
    log_line("initializing,", r"initializing, n_slots", "b9714 to b11549", "tools/server/server-context.cpp"),
    log_line("n_layer_all", r"print_info: n_layer_all +=", "b9295 to b11549", "src/llama-model.cpp, print_info"),
    log_line("Flash Attention was", r"Flash Attention was auto", "b6325 to b10067", "src/llama-context.cpp"),
    log_line("resolve_fused_ops", r"resolve_fused_ops:", "b9874 to b11549", "src/llama-context.cpp"),
)
