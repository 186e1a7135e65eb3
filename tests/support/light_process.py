"""What a light application does: both adapters, with a guard in another process.

Run as a script with a URL and a key. It prints what it saw as one JSON object. Only the standard
library and what is tested may be imported here.
"""

from __future__ import annotations

import base64
import importlib.abc
import io
import json
import sys
from typing import Any

HEAVY = {
    *("torch", "torchvision", "transformers", "open_clip", "ot", "safetensors"),
    *("scipy", "timm", "onnxruntime", "fastapi", "uvicorn"),
}


class Absent(importlib.abc.MetaPathFinder):
    """Makes packages as absent as if they were not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse a heavy package; leave all others to the next finder."""
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def decisions(metadata: dict[str, Any]) -> list[str]:
    """Those of a message's pictures."""
    return [each["decision"] for each in metadata["guardalign"]["verdicts"]]


def seen(url: str, key: str) -> dict[str, Any]:
    """What each adapter makes of a picture with a red block."""
    from langchain_core.documents import Document
    from langchain_core.messages import HumanMessage
    from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
    from llama_index.core.llms.mock import MockLLM
    from llama_index.core.schema import ImageNode
    from PIL import Image

    from guardalign_middleware import RemoteImageGuard
    from langchain_guardalign import (
        GuardAlignMiddleware,
        ImageGuardDocumentTransformer,
        ImageGuardRunnable,
    )
    from llama_index.llms.guardalign import GuardAlignGuardedLLM, GuardAlignImageTransform

    picture = Image.new("RGB", (64, 64), (0, 0, 255))
    picture.paste((255, 0, 0), (16, 32, 32, 48))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    raw = base64.b64encode(buffer.getvalue()).decode()
    block = {"type": "image", "base64": raw, "mime_type": "image/png"}

    with RemoteImageGuard(url, api_key=key) as guard:
        (message,) = ImageGuardRunnable(guard=guard).invoke([HumanMessage([block])])
        metadata = {"image": f"data:image/png;base64,{raw}"}
        transformer = ImageGuardDocumentTransformer(guard=guard)
        (document,) = transformer.transform_documents([Document("", metadata=metadata)])
        GuardAlignMiddleware(guard=guard)
        chat = GuardAlignGuardedLLM(MockLLM(), guard=guard).chat(
            [ChatMessage(role="user", blocks=[TextBlock(text="?"), ImageBlock(image=raw.encode())])]
        )
        (node,) = GuardAlignImageTransform(guard=guard)([ImageNode(image=raw)])
        return {
            "scan": guard.scan(buffer.getvalue()).decision,
            "message": decisions(message.response_metadata),
            "raw is gone": raw not in repr((message, document, node)),
            "document": document.metadata["guardalign_decision"],
            "chat": decisions(chat.additional_kwargs),
            "node": node.metadata["guardalign_decision"],
        }


if __name__ == "__main__":
    if sys.argv[3:] == ["--absent"]:
        sys.meta_path.insert(0, Absent())
    found = seen(*sys.argv[1:3])
    loaded = sorted(HEAVY & {name.partition(".")[0] for name in sys.modules})
    sys.stdout.write(json.dumps({**found, "loaded": loaded}))
