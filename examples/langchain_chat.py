"""LangChain: swap the chat model, keep the rest. Runs offline on the miniature models.

python examples/langchain_chat.py
"""

from __future__ import annotations

import base64
import io

from langchain_core.messages import HumanMessage
from PIL import Image

from guardalign_middleware.mini.demo import demo_scenes
from langchain_guardalign import ChatGuardAlign


def main() -> None:
    """Ask about a harmless scene, then make a harmful request about an unsafe one."""
    model = ChatGuardAlign(preset="mini")
    scenes = demo_scenes()
    harmless = next(scene for scene in scenes if not scene.harmful)
    harmful = next(scene for scene in scenes if scene.harmful)
    for scene in (harmless, harmful):
        buffer = io.BytesIO()
        Image.fromarray(scene.scene.pixels).save(buffer, "PNG")
        question = HumanMessage(
            [
                {"type": "text", "text": scene.request},
                {
                    "type": "image",
                    "base64": base64.b64encode(buffer.getvalue()).decode(),
                    "mime_type": "image/png",
                },
            ]
        )
        print(f"{scene.name}: {scene.request}")
        whole = None
        for chunk in model.stream([question]):
            print(chunk.text, end="", flush=True)
            whole = chunk if whole is None else whole + chunk
        print()
        if whole is not None:
            for verdict in whole.response_metadata["guardalign"]["verdicts"]:
                print(f"  guard: {verdict['decision']} {verdict['category']}")


if __name__ == "__main__":
    main()
