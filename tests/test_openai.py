"""Against a real HTTP server on loopback that speaks the protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytest.importorskip("openai")

from bakeoff.errors import ModelError, UnreachableError
from bakeoff.models import generator
from bakeoff.types import Message

ASKED = [Message("user", "Hi")]


NONSENSE = {
    "overload": ("application/json", '{"error": {"message": "overloaded"}}'),
    "nothing": ("application/json", '{"id": "1", "choices": []}'),
    "login": ("text/html", "<html>Please log in</html>"),
    "torn": ("application/json", '{"id": "1", "choi'),
    "event": ("text/event-stream", 'data: {"error": {"message": "overloaded"}}\n\n'),
    "empty": ("text/event-stream", "data: [DONE]\n\n"),
}
"""Model -> what comes in place of a reply, with the status 200."""


class Endpoint(BaseHTTPRequestHandler):
    """Replies "Hello there", streamed or whole; the model `broken` is refused."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["model"] in NONSENSE:
            kind, text = NONSENSE[body["model"]]
            self._send(200, kind, text)
        elif body["model"] == "broken":
            self._send(404, "application/json", json.dumps({"error": {"message": "no such model"}}))
        elif body.get("stream"):
            events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in ("Hello", " there")]
            text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
            self._send(200, "text/event-stream", text)
        else:
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello there"}}
            usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
            usage["prompt_tokens_details"] = {"cached_tokens": 4}  # type: ignore[assignment]
            self._send(200, "application/json", json.dumps({"id": "1", "choices": [choice], "usage": usage}))

    def _send(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_an_endpoint_answers_and_its_cached_tokens_are_counted_apart(url: str) -> None:
    generation = generator(f"{url}#some-model").generate(ASKED)
    assert (generation.text, generation.finish) == ("Hello there", "stop")
    assert (generation.usage.fresh, generation.usage.cached, generation.usage.output) == (5, 4, 2)


def test_an_endpoint_streams_the_same_text(url: str) -> None:
    assert "".join(generator(f"{url}#some-model").stream(ASKED)) == "Hello there"


@pytest.mark.parametrize("model", NONSENSE)
def test_what_is_no_reply_is_the_fault_of_the_server_and_no_wrong_answer(url: str, model: str) -> None:
    asked = generator(f"{url}#{model}")
    with pytest.raises(UnreachableError, match="sent no chat completion") as caught:
        asked.generate(ASKED)
    assert "\n" not in str(caught.value)
    with pytest.raises(UnreachableError, match="sent no chat completion"):
        list(asked.stream(ASKED))


def test_a_refusal_a_dead_endpoint_and_a_missing_model_name_are_one_line_each(url: str) -> None:
    with pytest.raises(ModelError, match="refused: 404"):
        generator(f"{url}#broken").generate(ASKED)
    with pytest.raises(ModelError, match="names no model"):
        generator(url)
    with pytest.raises(ModelError, match="is the server running there"):
        generator("http://127.0.0.1:9/v1#m").generate(ASKED)
