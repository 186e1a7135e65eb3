"""The guard of the tests, run by the project's own environment: it needs torch, gateways do not.

Prints its URL, and ends when its standard input does.
"""

from __future__ import annotations

import sys

from guardalign_middleware.serving import ServeOptions, create_app
from guardalign_middleware.testing import red_guard
from tests.support.serving import KEY, served

if __name__ == "__main__":
    with served(create_app(red_guard(), ServeOptions(api_key=KEY))) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        sys.stdin.read()
