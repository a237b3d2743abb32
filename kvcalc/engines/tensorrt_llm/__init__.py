"""TensorRT-LLM: one pool of blocks for all layers, with a share of what a profiling run leaves free."""
