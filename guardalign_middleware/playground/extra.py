"""Says how to install what the playground needs, before an import fails."""

from __future__ import annotations

from guardalign_middleware.local_extra import LIBRARIES, require_extra

_NEEDED = ("nicegui", "fastapi", "uvicorn", "prometheus_client", *LIBRARIES)


def require_playground() -> None:
    """Check that the extra `playground` is installed.

    Raises:
        ConfigError: it is not.
    """
    require_extra("playground", "The playground needs", _NEEDED)
