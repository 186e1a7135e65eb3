"""Says how to install what the server needs, before an import fails."""

from __future__ import annotations

from guardalign_middleware import local_extra

_NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart", *local_extra.LIBRARIES)


def require_extra() -> None:
    """Check that the extra `serve` is installed.

    Raises:
        ConfigError: it is not.
    """
    local_extra.require_extra("serve", "Serving needs", _NEEDED)
