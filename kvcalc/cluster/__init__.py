"""Sweeps past one machine: partitions that a cluster of Dask makes (the extra `cluster`)."""
