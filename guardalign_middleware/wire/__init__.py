"""What a guard and its clients in other processes say to each other, as JSON.

Results are exact: a verdict that is read equals the verdict that was written, to the last bit of
its distances. Needs neither torch nor a web framework.
"""

from guardalign_middleware.wire.base import WIRE_VERSION, check_version
from guardalign_middleware.wire.calls import (
    SanitizeRequest,
    SanitizeResponse,
    ScanRequest,
    ScanResponse,
    SentImage,
    SentTurn,
)
from guardalign_middleware.wire.description import GuardDescription
from guardalign_middleware.wire.failures import Failure
from guardalign_middleware.wire.results import WireCleaning
from guardalign_middleware.wire.verdicts import WireVerdict

__all__ = [
    "WIRE_VERSION",
    "Failure",
    "GuardDescription",
    "SanitizeRequest",
    "SanitizeResponse",
    "ScanRequest",
    "ScanResponse",
    "SentImage",
    "SentTurn",
    "WireCleaning",
    "WireVerdict",
    "check_version",
]
