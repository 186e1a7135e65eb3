"""The `guardalign` command."""

from guardalign_middleware.cli.app import app, main

__all__ = ["app", "main"]
