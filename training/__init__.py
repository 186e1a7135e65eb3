"""How the miniature models of `guardalign_middleware.mini` are made; not part of the wheel."""
