"""Loading the audit log that a config names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardalign_middleware.config import GuardAlignConfig

if TYPE_CHECKING:
    from guardalign_middleware.audit import AuditLog


def load_audit(config: GuardAlignConfig) -> AuditLog | None:
    """The log of a guard; None where the config names none.

    Raises:
        AuditError: its key cannot be read, or it cannot be written.
    """
    if config.audit is None:
        return None
    # Imported on use: the log needs POSIX locks, and the guard alone does not.
    from guardalign_middleware.audit import AuditLog

    return AuditLog.from_config(config.audit)
