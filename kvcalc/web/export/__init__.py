"""The page as files that need no server of ours: the same Python answers, in a worker of the browser, by Pyodide.

Only `kvcalc web --export` imports this.
"""
