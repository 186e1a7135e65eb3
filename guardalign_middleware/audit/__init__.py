"""An append-only record of verdicts: JSON lines, chained and authenticated by a secret key.

Each line holds what was decided about one image and what decided it, the authentication code (MAC)
of the line before, and its own MAC = HMAC-SHA256(key, line). The image is named by an HMAC of its
canonical pixels, so whoever lacks the key cannot even confirm a guess. Pixels and prompts are never
written, and where the image came from only on request.

`ImageGuard` writes it where its config says so (`audit`), whichever adapter brings the image.

**What is found.** `verify` finds every edit, insertion, deletion and reordering that was made
without the key. Lines cut off the end leave a shorter chain that is valid in itself; therefore a
small file beside the log, `NAME.head`, holds the number of lines and the last MAC, authenticated,
too. A log that is shorter than its head says was cut, a missing head is reported, and nothing is
appended to such a log.

**What is not found** without further help: that log *and* head were both put back to an earlier
state, or removed together. Keep the head that `verify` reports in a place that the log's writer
cannot change (a ticket, another machine, a signed mail), and pass it as the `anchor` later: then
everything up to it is proven to be still there. Who holds the key can rewrite history; keep it
where those who might want to cannot read it.

POSIX only: writers exclude each other, threads as well as processes, by a lock on the log.
"""

from guardalign_middleware.audit.lines import AuditEntry, Head, load_key
from guardalign_middleware.audit.log import AuditLog
from guardalign_middleware.audit.replay import differences, entries_of, matches
from guardalign_middleware.audit.verify import AuditReport, Problem, read_entries, verify

__all__ = [
    "AuditEntry",
    "AuditLog",
    "AuditReport",
    "Head",
    "Problem",
    "differences",
    "entries_of",
    "load_key",
    "matches",
    "read_entries",
    "verify",
]
