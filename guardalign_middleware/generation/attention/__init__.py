"""Attention calibration (paper eqs. 13, 14): compute it, turn it on, and prove that it happened."""

from guardalign_middleware.local_extra import require_local

require_local()
