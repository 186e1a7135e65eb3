"""An append-only record of verdicts: JSON lines, chained and authenticated by a secret key.

Each line holds the decision on one image and its basis, the authentication code (MAC) of the
previous line, and its own MAC = HMAC-SHA256(key, line). The image is identified by an HMAC of its
canonical pixels, so without the key not even a guess can be confirmed. Pixels and prompts are never
written; the source of an image is written only on request.

`ImageGuard` writes the log if its config has `audit`, whichever adapter the image comes through.

**Detected:** `verify` finds every edit, insertion, deletion and reordering made without the key.
Cutting lines off the end leaves a valid, shorter chain, so a small authenticated file beside the
log, `NAME.head`, holds the number of lines and the last MAC. A log shorter than its head was cut. A
missing head is reported. Nothing is appended to a log in either state.

**Crashes** are not tampering: a writer that is stopped, or a disk that is full, leaves at most one
unfinished line that the head does not name. `verify` says so, and the next write cuts it off.

**Files:** a log may be closed by size or by day and go on in a new file. The chain goes on as well,
and `verify` follows it through all files beside the log.

**Not detected** without further help: restoring log *and* head to an earlier state, or removing
both. Keep the head that `verify` reports where the log's writer cannot change it (a ticket, another
machine, a signed mail) and pass it as the `anchor` later, which proves that everything up to it is
still there. The key allows rewriting history; keep it away from anyone with a reason to do so.

POSIX only: writers, whether threads or processes, exclude each other by the lock `NAME.lock`.
"""

from guardalign_middleware.audit.keys import load_key
from guardalign_middleware.audit.lines import AuditEntry, Head
from guardalign_middleware.audit.log import AuditLog
from guardalign_middleware.audit.repair import Repair, repair
from guardalign_middleware.audit.replay import differences, entries_of, matches
from guardalign_middleware.audit.verify import AuditFile, AuditReport, Problem, read_entries, verify

__all__ = [
    "AuditEntry",
    "AuditFile",
    "AuditLog",
    "AuditReport",
    "Head",
    "Problem",
    "Repair",
    "differences",
    "entries_of",
    "load_key",
    "matches",
    "read_entries",
    "repair",
    "verify",
]
