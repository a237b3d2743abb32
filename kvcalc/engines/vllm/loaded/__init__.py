"""What a rank of vLLM has in memory once a model is loaded."""
