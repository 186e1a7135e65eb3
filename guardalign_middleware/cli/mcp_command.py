"""The options of `guardalign mcp`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from guardalign_middleware.cli.options import Mode
from guardalign_middleware.cli.running import run


def mcp(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND", help="MCP server that talks on its standard streams."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="MCP server behind streamable HTTP, instead.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="With --url: address to listen on. Default: 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="With --url. Default: 8808; 0 is any free port.")
    ] = None,
    on_unsafe: Annotated[
        Literal["mask", "notice", "block"],
        typer.Option(help="What becomes of an unsafe picture; block: an error for the message."),
    ] = "mask",
    on_refused: Annotated[
        Literal["notice", "raise"],
        typer.Option(help="For what cannot be looked at: a text in its place, or an error."),
    ] = "notice",
    allow_unscanned: Annotated[
        bool, typer.Option("--allow-unscanned", help="Let films and other files pass unseen.")
    ] = False,
    guard_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Use the guard of a running `guardalign serve`."),
    ] = None,
    guard_key_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Environment variable with the key for that guard."),
    ] = None,
    guard_allow_http: Annotated[
        bool,
        typer.Option("--guard-allow-http", help="Reach it without encryption on other machines."),
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", "-p", help="Shipped preset, or path of a .yaml file. Default: mini."
        ),
    ] = None,
    mode: Mode = None,
) -> None:
    """Put the guard in front of an MCP server: the pictures that it sends are cleaned.

    --url needs the extra "mcp". See docs/mcp.md.

    Exit status: that of the server's command; with --url 0 after SIGTERM, 130 interrupted;
    3 the program failed.
    """
    from guardalign_middleware.cli.mcp import Where, run_mcp
    from guardalign_middleware.mcp import Handling

    run(
        lambda: run_mcp(
            command or [],
            url=url,
            host=host,
            port=port,
            where=Where(preset, mode, guard_url, guard_key_env, guard_allow_http),
            handling=Handling(on_unsafe, on_refused, allow_unscanned),
        )
    )
