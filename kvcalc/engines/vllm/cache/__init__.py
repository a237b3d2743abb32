"""What layers ask of vLLM's planner, how it groups them, and the blocks that follow."""
