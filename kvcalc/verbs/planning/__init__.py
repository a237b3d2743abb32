"""The search for deployments that hold a workload, ranked: `kvcalc plan`."""
