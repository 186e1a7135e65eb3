"""Serves the double for the commands of docs/first-real-model.md: python -m tests.hub FOLDER.

The encoder sees pictures at the size that the real one does and is narrow, so that a CPU has time
for it; the model that answers is tiny. All numbers are random.
"""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path

from tests.hub.double import Hub, Repository
from tests.hub.repositories import FARE, LLAVA, write_encoder, write_runner

ENCODER = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def main() -> None:
    """Write the repositories where they are missing, and serve them until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8765)
    asked = parser.parse_args()
    fare, llava = asked.folder / "fare", asked.folder / "llava"
    if not fare.exists():
        write_encoder(fare, ENCODER, tokenizer=False)
    if not llava.exists():
        write_runner(llava)
    repositories = {FARE: Repository(fare, "mit"), LLAVA: Repository(llava, "llama2")}
    with Hub(repositories, port=asked.port).running() as hub:
        sys.stdout.write(f"export HF_ENDPOINT={hub.endpoint}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
