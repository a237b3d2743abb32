"""The verbs: pure functions from a scenario to a result."""
