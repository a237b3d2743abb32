"""The catalogue as answers: `kvcalc models` and `kvcalc gpus`."""
