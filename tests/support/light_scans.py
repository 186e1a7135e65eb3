"""Scans and cleans pictures with the guard at a URL. A script; prints one JSON object.

Arguments: URL, key, files. Only the standard library and what is tested may be imported here.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Protocol


class Guard(Protocol):
    """What is used of a guard, in this process or in another one."""

    def scan(self, image: str) -> Any: ...
    def sanitize(self, image: str) -> Any: ...


def results(guard: Guard, files: list[str]) -> dict[str, Any]:
    """Every verdict, and a digest of the pixels of every cleaned picture."""
    found = {}
    for file in files:
        cleaned = guard.sanitize(file).image
        digest = None if cleaned is None else cleaned.sha256
        found[file] = [guard.scan(file).to_json(), digest]
    return json.loads(json.dumps(found))


if __name__ == "__main__":
    from guardalign_middleware import RemoteImageGuard

    with RemoteImageGuard(sys.argv[1], api_key=sys.argv[2]) as remote:
        sys.stdout.write(json.dumps(results(remote, sys.argv[3:])))
