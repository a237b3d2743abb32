"""kvcalc as tools for agents: a verb each, over the Model Context Protocol.

Tools take the options of the command line by their names in Python, and answer with the object that `--json` prints.
"""
