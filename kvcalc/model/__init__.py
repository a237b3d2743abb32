"""A model: its layers in order, what pipeline stages hold of them, and its weights."""
