"""LMDeploy: blocks of all layers, with a share of what the weights leave free."""
