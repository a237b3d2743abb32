"""Searches that several verbs share: candidates, the smallest deployment, the most that fits."""
