"""Sweeps: many scenarios as rows. What does not change from row to row is settled once."""
