"""Says how to install what the server needs, before an import fails."""

from __future__ import annotations

from importlib.util import find_spec

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.local_extra import LIBRARIES

_NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart", *LIBRARIES)


def require_extra() -> None:
    """Check that the extra `serve` is installed.

    Raises:
        ConfigError: it is not.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Serving needs {', '.join(missing)}.",
            remedy="Install it with: pip install 'guardalign-middleware[serve]'",
        )
