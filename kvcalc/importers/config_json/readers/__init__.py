"""Readers of families: from the keys of a config.json to what each layer keeps."""
