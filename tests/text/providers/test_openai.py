"""The openai provider against a local HTTP server: good answers, failures, and the key that never shows."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from medsynth_cli import app, modality
from medsynth_cli.errors import MedsynthError
from medsynth_cli.text import providers

FOLDER = modality.find("chest_xray")
KEY = "sk-very-secret-0123456789"
GOOD = {
    "findings": "There is a large left pleural effusion. The heart is normal in size.",
    "impression": "Large left pleural effusion.",
}
TERMS = {
    "kind": "terms",
    "id": "t-1",
    "view": "PA",
    "sex": "F",
    "age": 61,
    "findings": [
        {"term": "pleural_effusion", "anatomy": "lung_base", "side": "left", "severity": "severe", "present": True},
        {"term": "pneumothorax", "present": False},
    ],
}


class Server:
    """Answers chat completions from a queue of (status, content), the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []
        self.requests: list[dict[str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.requests.append(json.loads(body) | {"key": self.headers["Authorization"], "path": self.path})
                status, content = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                data = json.dumps(completion(content) if status == 200 else {"error": {"message": content}}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def completion(content: str) -> dict[str, Any]:
    return {
        "id": "c",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("OPENAI_BASE_URL", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    running = Server()
    yield running
    running.close()


def report(server: Server, tmp_path: Path, *options: str, count: int = 1) -> int:
    source = tmp_path / "terms.jsonl"
    source.write_text("".join(json.dumps(TERMS | {"id": f"t-{n}"}) + "\n" for n in range(count)))
    arguments = ["report", str(source), "--provider", "openai", "--base-url", server.url, "--model", "m"]
    return app.main([*arguments, "--set", "max_retries=0", *options])


ABSENT = " No pneumothorax."


def test_a_good_answer_becomes_a_report(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = GOOD | {"findings": GOOD["findings"] + ABSENT}
    server.answers = [(200, json.dumps(good))]
    assert report(server, tmp_path, "--seed", "3") == 0
    captured = capsys.readouterr()
    (record,) = map(json.loads, captured.out.splitlines())
    assert record["kind"] == "report"
    assert record["report"] == good
    assert record["findings"] == TERMS["findings"]
    assert record["writer"]["provider"] == "openai"
    assert record["writer"]["model"] == "m"
    assert record["writer"]["usage"] == {"prompt_tokens": 7, "completion_tokens": 3}
    assert record["checks"] == {"missing": [], "contradicted": []}
    assert KEY not in captured.out + captured.err

    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["key"] == f"Bearer {KEY}"
    assert request["response_format"] == {"type": "json_object"}
    assert isinstance(request["seed"], int)
    assert "temperature" not in request
    instructions, data = request["messages"]
    assert instructions == {"role": "system", "content": (FOLDER / "prompt.md").read_text()}
    assert json.loads(data["content"]) == {
        "view": "PA",
        "sex": "F",
        "age": 61,
        "present": [{"finding": "pleural effusion", "side": "left", "site": "lung base", "severity": "severe"}],
        "absent": [{"finding": "pneumothorax"}],
    }


def test_an_unfaithful_answer_is_asked_for_again(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = GOOD | {"findings": "Right effusion. No pneumothorax."}
    server.answers = [(200, json.dumps(wrong)), (200, json.dumps(GOOD | {"findings": GOOD["findings"] + ABSENT}))]
    assert report(server, tmp_path) == 0
    assert len(server.requests) == 2
    assert server.requests[0]["seed"] != server.requests[1]["seed"]
    assert "left pleural effusion" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "reason", "requests"),
    [
        ((500, f"broken {KEY}"), "HTTP 500", 1),
        ((401, f"bad key {KEY}"), "HTTP 401", 1),
        ((200, "not json"), "no JSON object with texts findings and impression (after 2 attempts)", 2),
        ((200, '["a"]'), "no JSON object", 2),
        ((200, '{"findings": 1, "impression": "x"}'), "no JSON object", 2),
        ((200, '{"findings": " ", "impression": "x"}'), "empty findings", 2),
        ((200, json.dumps(GOOD)), "missing pneumothorax", 2),
        ((200, json.dumps(GOOD | {"impression": "Left pneumothorax."})), "contradicted pneumothorax", 2),
    ],
)
def test_a_bad_answer_fails_its_record_only(
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answer: tuple[int, str],
    reason: str,
    requests: int,
) -> None:
    server.answers = [answer]
    assert report(server, tmp_path, "--set", "attempts=2") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (failure,) = map(json.loads, captured.err.splitlines())
    assert failure["id"] == "t-0"
    assert reason in failure["reason"]
    assert KEY not in captured.err
    assert len(server.requests) == requests


def test_some_records_fail_and_the_rest_is_written(server: Server, tmp_path: Path) -> None:
    good = json.dumps(GOOD | {"findings": GOOD["findings"] + ABSENT})
    server.answers = [(500, "down"), (200, good)]
    out, errors = tmp_path / "out.jsonl", tmp_path / "errors.jsonl"
    assert report(server, tmp_path, "-o", str(out), "--errors", str(errors), count=3) == 3
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == ["t-1", "t-2"]
    assert [json.loads(line)["id"] for line in errors.read_text().splitlines()] == ["t-0"]


def test_nobody_answers(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.close()
    assert report(server, tmp_path) == 1
    assert "APIConnectionError" in capsys.readouterr().err


def test_what_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(MedsynthError, match="needs a model"):
        providers.load("openai", FOLDER)
    with pytest.raises(MedsynthError, match="OPENAI_API_KEY is not set"):
        providers.load("openai", FOLDER, model="m")
    with pytest.raises(MedsynthError, match="attempts=two: not a valid int"):
        providers.load("openai", FOLDER, model="m", base_url="http://localhost/v1", attempts="two")
    local = providers.load("openai", FOLDER, model="m", base_url="http://localhost/v1", temperature="0.5")
    assert local.model == "m"
