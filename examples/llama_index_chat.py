"""LlamaIndex: swap the LLM and keep the rest. Runs offline on the miniature models.

python examples/llama_index_chat.py
"""

from __future__ import annotations

import io

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from PIL import Image

from guardalign_middleware.mini.demo import demo_scenes
from llama_index.llms.guardalign import GuardAlignMultiModal


def main() -> None:
    """Ask a harmless question about a safe scene, then a harmful one about an unsafe scene."""
    llm = GuardAlignMultiModal(preset="mini")
    scenes = demo_scenes()
    harmless = next(scene for scene in scenes if not scene.harmful)
    harmful = next(scene for scene in scenes if scene.harmful)
    for scene in (harmless, harmful):
        buffer = io.BytesIO()
        Image.fromarray(scene.scene.pixels).save(buffer, "PNG")
        blocks = [ImageBlock(image=buffer.getvalue()), TextBlock(text=scene.request)]
        print(f"{scene.name}: {scene.request}")
        for response in llm.stream_chat([ChatMessage(role="user", blocks=blocks)]):
            print(response.delta, end="", flush=True)
        print()
        raw = response.raw or {}
        for verdict in raw["guardalign"]["verdicts"]:
            print(f"  guard: {verdict['decision']} {verdict['category']}")


if __name__ == "__main__":
    main()
