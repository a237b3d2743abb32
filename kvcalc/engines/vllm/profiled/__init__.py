"""The memory that vLLM finds beside weights and cache: the profiling run, graphs, overhead, the budget."""
