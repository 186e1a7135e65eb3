"""The chain by itself: guard, then answer. Runs offline on the miniature models.

python examples/core_chain.py
"""

from __future__ import annotations

from PIL import Image

from guardalign_middleware import GuardAlign
from guardalign_middleware.mini.demo import demo_scenes


def main() -> None:
    """Ask the demo's questions and print what the guard did."""
    chain = GuardAlign.from_preset("mini")
    for scene in demo_scenes()[:4]:
        picture = Image.fromarray(scene.scene.pixels)
        parts = [{"type": "image", "image": picture}, {"type": "text", "text": scene.request}]
        print(f"{scene.name}: {scene.request}")
        for chunk in chain.stream([{"role": "user", "content": parts}]):
            print(chunk.text, end="", flush=True)
            if chunk.reply is not None:
                found = [f"{v.decision} {v.category}" for v in chunk.reply.verdicts]
                print(f"\n  guard: {', '.join(found)}")


if __name__ == "__main__":
    main()
