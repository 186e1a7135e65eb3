"""Says how to install what the proxy for HTTP needs, before an import fails."""

from __future__ import annotations

from importlib.util import find_spec

from guardalign_middleware.errors import ConfigError


def require_extra() -> None:
    """Check that the extra `mcp` is installed.

    Raises:
        ConfigError: it is not.
    """
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"A proxy for HTTP needs {' and '.join(missing)}.",
            remedy="Install it with: pip install 'guardalign-middleware[mcp]'",
        )
