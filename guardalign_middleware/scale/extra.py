"""Says how to install Ray, before an import fails."""

from __future__ import annotations

from guardalign_middleware import local_extra

_NEEDED = ("ray", "pyarrow", *local_extra.LIBRARIES)
_SERVING = ("uvicorn", "aiohttp_cors", "watchfiles")


def require_ray(*, serving: bool = False) -> None:
    """Check that the extra `ray` is installed.

    Args:
        serving: whether it serves, too.

    Raises:
        ConfigError: it is not.
    """
    local_extra.require_extra("ray", "Ray needs", (*_NEEDED, *(_SERVING if serving else ())))
