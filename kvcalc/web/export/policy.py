"""The page's Content-Security-Policy, as a page needs it that computes by itself."""

from __future__ import annotations

import re

Directives = dict[str, str]

_META = re.compile(r'(?<=<meta http-equiv="Content-Security-Policy" content=")[^"]*(?=")')

HOSTED: Directives = {
    "script-src": "'self' 'wasm-unsafe-eval'",
    "worker-src": "'self'",
    "connect-src": "'self'",
}
"""Of files on a server: WebAssembly may be compiled, and nothing leaves the server."""


def with_policy(html: str, changed: Directives) -> str:
    """A page whose policy has some directives changed; those that are empty are left out, and `default-src` rules."""
    found = _META.search(html)
    if found is None:
        raise ValueError("the page has no Content-Security-Policy")
    given: Directives = dict(each.strip().partition(" ")[::2] for each in found[0].split(";") if each.strip())
    policy = "; ".join(f"{name} {values}" for name, values in {**given, **changed}.items() if values)
    return html[: found.start()] + policy + html[found.end() :]
