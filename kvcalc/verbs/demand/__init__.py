"""The verb `demand`: what the requests of a trace hold over time."""
