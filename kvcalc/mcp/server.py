"""The server: stdio, the official SDK, and what becomes of a call.

An agent is a stranger: what it names is held within limits (`kvcalc.access`), its arguments are checked against the
tool's schema, and whatever goes wrong is an answer of the tool that says what to do, without a path of this machine.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from kvcalc import __version__
from kvcalc.access import limited_to
from kvcalc.errors import CannotRunError, KvcalcError, nearest_or_all
from kvcalc.mcp.answers import files_of
from kvcalc.mcp.inputs import checked
from kvcalc.mcp.tools import tools
from kvcalc.schema import output_schema

if TYPE_CHECKING:
    from kvcalc.access import Access

INSTRUCTIONS = """\
kvcalc sizes the KV cache of language models exactly and counts the GPUs that hold it. Figures ending in _bytes are \
whole bytes; null means unknown or unbounded, never zero. Relate `notes` and `not_modelled`: they say what was assumed \
and what is left out. Messages name options as the command line does: --cache-dtype is the argument cache_dtype. Sizes \
may be written '80GiB', counts '128Ki'."""

_PASTED_AGAIN = re.compile(r"next: kvcalc estimate model_text((?: --assume \S+)+)")


def call(name: str, arguments: dict[str, Any] | None) -> dict[str, Any]:
    """What a tool answers: the object that the command prints with --json.

    Raises:
        KvcalcError: no such tool or argument, or anything that cannot be.
    """
    if name not in tools():
        raise KvcalcError(f"no tool '{name[:60]}'{nearest_or_all(name[:60], tools())}")
    tool = tools()[name]
    return tool.answer(files_of(checked(arguments or {}, tool.input_schema))).to_dict()


def message_of(error: Exception) -> str:
    """What an agent is told: kvcalc's own words; of anything else only what kind of mistake it is."""
    if isinstance(error, KvcalcError):
        return _PASTED_AGAIN.sub(lambda found: f"next: call it again with assume:{found[1]}", str(error))
    if isinstance(error, OSError):
        return f"this machine: {error.strerror or type(error).__name__}"
    return f"a bug in kvcalc: {type(error).__name__}; nothing was computed"


def serve(access: Access) -> None:
    """Answer until standard input ends.

    Raises:
        CannotRunError: the extra is not installed.
    """
    try:
        import anyio  # of the extra
        import mcp.types as types  # noqa: PLR0402  # of the extra
        from mcp.server.lowlevel import Server
        from mcp.server.stdio import stdio_server
    except ImportError as error:
        raise CannotRunError("mcp: needs the official SDK: python -m pip install 'mcp>=2.0'") from error

    alone = anyio.CapacityLimiter(1)  # one calculation at a time; pings are answered meanwhile

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=name,
                    description=tool.about,
                    input_schema=tool.input_schema,
                    output_schema=tool.gives or output_schema(tool.command),
                    annotations=types.ToolAnnotations(
                        read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=access.hub
                    ),
                )
                for name, tool in tools().items()
            ]
        )

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            found = await anyio.to_thread.run_sync(partial(call, params.name, params.arguments), limiter=alone)
        except Exception as error:  # noqa: BLE001  # an agent gets a sentence, never a traceback
            content = [types.TextContent(text=message_of(error))]
            return types.CallToolResult(content=content, is_error=True)
        text = json.dumps(found, allow_nan=False, separators=(",", ":"))
        return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=found)

    server = Server(
        "kvcalc",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )

    async def run() -> None:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())

    with limited_to(access):
        anyio.run(run)
