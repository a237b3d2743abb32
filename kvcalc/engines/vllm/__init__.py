"""vLLM: one spec a cached layer, groups of layers that share block tables, and one pool of blocks for all."""
