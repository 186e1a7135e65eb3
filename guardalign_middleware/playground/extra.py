"""Says how to install what the playground needs, before an import fails."""

from __future__ import annotations

from importlib.util import find_spec

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.local_extra import LIBRARIES

_NEEDED = ("nicegui", "fastapi", "uvicorn", "prometheus_client", *LIBRARIES)


def require_playground() -> None:
    """Check that the extra `playground` is installed.

    Raises:
        ConfigError: it is not.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"The playground needs {', '.join(missing)}.",
            remedy="Install it with: pip install 'guardalign-middleware[playground]'",
        )
