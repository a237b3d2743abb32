"""Requests as they come: mixed, arriving at a rate, generating, handed over, kept aside."""
