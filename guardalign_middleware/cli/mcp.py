"""`guardalign mcp`: the guard in front of an MCP server."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guardalign_middleware.cli.console import err
from guardalign_middleware.config import Mode
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.mcp import Handling, MessageGuard, StdioProxy
from guardalign_middleware.remote import RemoteImageGuard


@dataclass(frozen=True)
class Where:
    """Where the guard is.

    Attributes:
        preset: of a guard in this process; None = mini, or the one at `guard_url`.
        mode: whether that guard acts on what it finds; None = as the preset says.
        guard_url: of a guard in another process.
        guard_key_env: environment variable with the key for it.
        guard_allow_http: whether pictures may travel to it without encryption.
    """

    preset: str | None = None
    mode: Mode | None = None
    guard_url: str | None = None
    guard_key_env: str | None = None
    guard_allow_http: bool = False

    def maker(self) -> Callable[[], LazyGuard]:
        """Makes the guard; mistakes are found at once.

        Raises:
            ConfigError: options that do not go together, or a variable that is not set.
        """
        if self.guard_url is None:
            if self.guard_key_env is not None or self.guard_allow_http:
                raise ConfigError(
                    "--guard-key-env and --guard-allow-http need --guard-url.",
                    remedy="Give the address of `guardalign serve`.",
                )
            handle = LazyGuard(preset=self.preset or "mini", mode=self.mode)
            handle.warn_of_mini("guardalign mcp")
            return lambda: handle
        if self.preset is not None:
            raise ConfigError(
                "Give --preset or --guard-url, not both.",
                remedy="The guard at --guard-url has a preset of its own.",
            )
        if self.mode is not None:
            raise ConfigError(
                "--mode is for a guard of --preset.",
                remedy="Give it to the `guardalign serve` at --guard-url.",
            )
        guard = RemoteImageGuard(
            self.guard_url, api_key=self._key(), allow_http=self.guard_allow_http
        )
        return lambda: LazyGuard(guard=guard)

    def _key(self) -> str | None:
        if self.guard_key_env is None:
            return None
        key = os.environ.get(self.guard_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"The environment variable {self.guard_key_env} is not set.",
                remedy="Set it to the key of the guard, or leave --guard-key-env out.",
            )
        return key


def run_mcp(
    command: Sequence[str],
    *,
    url: str | None,
    host: str | None,
    port: int | None,
    where: Where,
    handling: Handling,
) -> int:
    """Pass messages on until the server ends, or, for HTTP, until a signal.

    Args:
        command: of a server on standard streams; empty with `url`.
        url: of a server behind streamable HTTP.
        host: address to listen on, with `url`.
        port: likewise.
        where: the guard is.
        handling: what happens to pictures.

    Returns:
        The exit status of the server; for HTTP that of a signal.

    Raises:
        GuardAlignError: the options are invalid, or the guard cannot be used.
    """
    _log_to_stderr()
    if (url is None) == (not command):
        raise ConfigError(
            "Give the command of an MCP server after --, or its address as --url.",
            remedy="For example: guardalign mcp -- uvx some-server",
        )
    if url is None and (host is not None or port is not None):
        raise ConfigError("--host and --port need --url.")
    guard = MessageGuard(where.maker(), handling)
    if url is None:
        return asyncio.run(StdioProxy(guard).run(command))
    from guardalign_middleware.mcp.extra import require_extra

    require_extra()
    from guardalign_middleware.listening import bind, url_of
    from guardalign_middleware.mcp.server import serve
    from guardalign_middleware.mcp.upstream import Upstream

    upstream = Upstream(url)
    with bind(host or "127.0.0.1", 8808 if port is None else port) as bound:
        with err().status("loading the guard"):
            guard.load()
        err().print(f"MCP on {url_of(bound)}{upstream.path}; stop with Ctrl-C")
        return serve(guard, upstream, bound)


def _log_to_stderr() -> None:
    """One line each, on standard error, which MCP leaves to logs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("guardalign: %(message)s"))
    logger = logging.getLogger("guardalign_middleware")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
