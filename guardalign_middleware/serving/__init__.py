"""The guard as an HTTP service: `guardalign serve`, or `create_app` in a server of your own.

Needs the extra `serve`. Modules here may use the whole core; nothing of the core uses them.
"""

from guardalign_middleware.serving.extra import require_extra

require_extra()

from guardalign_middleware.serving.app import create_app  # noqa: E402 (after the clear error)
from guardalign_middleware.serving.options import ServeOptions  # noqa: E402
from guardalign_middleware.serving.service import Service  # noqa: E402

__all__ = ["ServeOptions", "Service", "create_app"]
