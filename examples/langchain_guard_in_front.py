"""LangChain: the guard in front of another provider's model. Runs offline.

The model class is LangChain's own `ChatOpenAI`. The provider is a small server in this file that
speaks OpenAI's protocol and records its requests; leave out `base_url` for the real one.

python examples/langchain_guard_in_front.py
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from PIL import Image
from pydantic import SecretStr

from guardalign_middleware.mini.demo import demo_scenes
from langchain_guardalign import ImageGuardRunnable


class Provider(BaseHTTPRequestHandler):
    """Records every request and answers with its length."""

    received: list[bytes]

    def do_POST(self) -> None:  # noqa: N802
        """Record the request and answer it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(body)
        message = {"role": "assistant", "content": f"Thank you for {len(body)} bytes."}
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": "double",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Keep the example's output clean."""


@contextmanager
def provider() -> Iterator[tuple[str, list[bytes]]]:
    """Run a provider; yields its address and the requests that it receives."""
    received: list[bytes] = []
    handler = type("RecordingProvider", (Provider,), {"received": received})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", received
        server.shutdown()


def main() -> None:
    """Send an unsafe scene to the provider, without and with the guard."""
    scene = next(item for item in demo_scenes() if item.name == "pistol-apple")
    buffer = io.BytesIO()
    Image.fromarray(scene.scene.pixels).save(buffer, "PNG")
    picture = base64.b64encode(buffer.getvalue()).decode()
    question = HumanMessage(
        [
            {"type": "text", "text": "What is in the picture?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
        ]
    )
    guard = ImageGuardRunnable(preset="mini")
    with provider() as (address, received):
        model = ChatOpenAI(model="double", base_url=address, api_key=SecretStr("none"))
        for name, chain in (("unguarded", model), ("guarded", guard | model)):
            reply = chain.invoke([question])
            leaked = picture.encode() in received[-1]
            print(f"{name}: the provider {'got' if leaked else 'never saw'} the raw picture")
            print(f"  it answered: {reply.text}")
    (cleaned,) = guard.invoke([question])
    for verdict in cleaned.response_metadata["guardalign"]["verdicts"]:
        print(f"  guard: {verdict['decision']} {verdict['category']}")


if __name__ == "__main__":
    main()
