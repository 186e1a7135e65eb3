"""`guardalign bench`: what the guard costs on the reader's own machine, in ratios that hold."""

from guardalign_middleware.local_extra import require_local

require_local()
