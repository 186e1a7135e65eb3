"""How well a guard does, and how it can be evaded."""

from guardalign_middleware.local_extra import require_local

require_local()
