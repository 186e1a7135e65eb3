"""A guard in another process: torch and the models stay there."""

from guardalign_middleware.remote.guard import RemoteImageGuard

__all__ = ["RemoteImageGuard"]
