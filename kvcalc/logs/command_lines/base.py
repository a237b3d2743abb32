"""What a server's options are, as a table of an engine says it, and those that no engine's memory depends on."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING = ("", "none", "null", "auto")
"""Values, in lower case, that leave a setting to the engine."""
OFF = ("0", "0.0", "false", *NOTHING)
ONE = ("1", *NOTHING)

HARMLESS = re.compile(
    r"host|port|api_key\w*|served_model_name|alias|\w*log\w*|\w*metrics\w*|chat_template\w*|jinja|"
    r"\w*pars(?:er|ing)\w*|\w*tool\w*|\w*auto_tool\w*|trust_remote_code|seed|tokenizer\w*|\w*revision|"
    r"download_dir|ssl\w*|uvicorn\w*|root_path|allowed?_\w*|middleware|\w*generation_config|load_format|mmap|"
    r"no_mmap|mlock|numa|threads\w*|t|tb|temp|top_k|top_p|min_p|\w*timeout\w*|nccl\w*|dist_\w*|master_\w*|"
    r"node_rank|nnodes|watchdog\w*|schedule\w*|scheduling\w*|disable_custom_all_reduce|lora_modules|swap_space|kv_offloading_\w*|"
    r"hicache_\w*|enable_hierarchical_cache|distributed_executor_backend|metadata_server\w*|server_role|h|i|a|"
    r"verbose|v|rope_\w*|predict|n|cont_batching|cb|warmup|no_warmup|slots|props|reasoning\w*|response_role|"
    r"hf_token|random_seed|stream_\w*|max_queued\w*|enable_chunked_prefill|enable_chunked_context|"
    r"async_scheduling|num_postprocess_workers|gpus_per_node|fit|cache_ram|cram|ctx_checkpoints|cache_reuse|"
    r"no_context_shift|safetensors_\w*|ignore_patterns|kv_events_config|structured_outputs_config|guided_\w*|"
    r"grammar_backend|model_impl|skip_server_warmup|headless|"
    r"data_parallel_(?:address|rpc_port|backend|size_local|rank|start_rank)|api_server_count|sleep_idle_seconds|"
    r"no_webui|webui|reload"
)
"""Names of options that change no memory of a card: what is served to whom, how it is logged, how weights are read."""


class CommandLine(NamedTuple):
    """The options of a server.

    Attributes:
        engine: by kvcalc's name.
        settings: what an option stands for, by its name: an option of kvcalc (with its dashes), one of the engine
            (without), or a part of these.
        flags: the names that short flags stand for.
        switches: options without a value.
        suffixes: of numbers, and what each multiplies them by.
        lists: options with several values.
        joins: the words of an option, as it is written.
        refused: options that change memory and that kvcalc does not follow, each with the values, in lower case, that
            leave memory as it is.
        parts: of options that are an object in JSON, its keys that are refused likewise.
        words: of others, words of a value with which they are.
        noted: options that may change memory beside the cache.
        harmless: options of this engine that change no memory of a card, beside HARMLESS.
        environment: options by the variable of the environment that sets them.
        fitted: the option whose value may be 'what fits', and the values, in lower case, that say so.
        added: options that may be given several times, whose values are read one after the other, with a comma.
        decide: options that decide the default of another, which must then be given: its name among the settings.
        opposites: two beginnings of names, of which either is the other's opposite.
        objects: options whose value is an object in JSON, which may be given part by part (--NAME.PART VALUE).
    """

    engine: str
    settings: Mapping[str, str]
    flags: Mapping[str, str]
    switches: frozenset[str]
    refused: Mapping[str, tuple[str, ...]]
    noted: frozenset[str]
    harmless: frozenset[str] = frozenset()
    suffixes: Mapping[str, int] = MappingProxyType({})
    environment: Mapping[str, str] = MappingProxyType({})
    fitted: tuple[str, frozenset[str]] = ("", frozenset())
    lists: frozenset[str] = frozenset()
    parts: Mapping[str, frozenset[str]] = MappingProxyType({})
    words: Mapping[str, frozenset[str]] = MappingProxyType({})
    joins: str = "-"
    added: frozenset[str] = frozenset()
    decide: Mapping[str, str] = MappingProxyType({})
    opposites: tuple[str, ...] = ()
    objects: frozenset[str] = frozenset()
