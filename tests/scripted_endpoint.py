"""An OpenAI-compatible server on loopback that replies as a function of the messages says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bakeoff.types import Message


@contextmanager
def serve(reply: Callable[[Sequence[Message]], str]) -> Iterator[str]:
    """The base url, to which `#model` is added."""

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = reply([Message(turn["role"], turn["content"]) for turn in body["messages"]])
            said = "delta" if body.get("stream") else "message"
            choice = {"index": 0, "finish_reason": "stop", said: {"role": "assistant", "content": text}}
            usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
            answer = json.dumps({"id": "1", "choices": [choice], "usage": usage})
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream" if body.get("stream") else "application/json")
            self.end_headers()
            self.wfile.write((f"data: {answer}\n\ndata: [DONE]\n\n" if body.get("stream") else answer).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
