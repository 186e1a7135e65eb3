"""Says how to install what the proxy for HTTP needs, before an import fails."""

from __future__ import annotations

from guardalign_middleware import local_extra


def require_extra() -> None:
    """Check that the extra `mcp` is installed.

    Raises:
        ConfigError: it is not.
    """
    local_extra.require_extra("mcp", "A proxy for HTTP needs", ("starlette", "uvicorn"))
