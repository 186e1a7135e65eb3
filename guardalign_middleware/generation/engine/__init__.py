"""The machinery below the runner: loading, the request queue, batches, decoding."""

from guardalign_middleware.local_extra import require_local

require_local()
