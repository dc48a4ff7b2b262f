"""A W&B server on this machine, as far as W&B's client needs one to send a run; it keeps what it is told.

It answers the GraphQL operations that the client asks by name, takes files, and collects the file streams.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENTITY = "lab"
_ENTITY = {"id": "e1", "name": ENTITY}
_VIEWER = {"id": "u1", "entity": ENTITY, "username": "someone", "email": "", "flags": "{}", "teams": {"edges": []}}


@dataclass
class FakeServer:
    """What was asked, and what was told about runs."""

    address: str
    status: int = 200  # anything else: it refuses all that it is asked
    asked: int = 0
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)  # id → variables of UpsertBucket
    streams: dict[str, dict[str, list[str]]] = field(default_factory=dict)  # id → file → lines
    exit_codes: dict[str, int] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)  # name in its run or artifact → content
    artifacts: list[str] = field(default_factory=list)  # types of those that were committed

    def history(self, run: str) -> list[dict[str, Any]]:
        """The lines of a run's history."""
        return [json.loads(line) for line in self.streams[run]["wandb-history.jsonl"]]

    def summary(self, run: str) -> dict[str, Any]:
        """The last summary of a run."""
        return json.loads(self.streams[run]["wandb-summary.json"][-1])

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """What a GraphQL operation yields; None where it is not known."""
        match operation:
            case "Viewer":
                return {"viewer": _VIEWER}
            case "ServerFeaturesQuery":
                return {"serverInfo": {"features": []}}
            case "RunResumeStatus":
                return {"model": {"id": "p1", "name": given["project"], "entity": _ENTITY, "bucket": None}}
            case "UpsertBucket":
                return {"upsertBucket": {"bucket": self._bucket(given), "inserted": True}}
            case "CreateRunFiles":
                files = [{"name": name, "uploadUrl": self._place(name)} for name in given["files"]]
                return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}
            case "CreateArtifact":
                artifact = {"id": given["input"]["artifactTypeName"], "state": "PENDING", "artifactSequence": {}}
                return {"createArtifact": {"artifact": artifact}}
            case "CreateArtifactManifest" | "UpdateArtifactManifest":
                file = {"id": "f1", "uploadUrl": self._place(given.get("name", "manifest")), "uploadHeaders": []}
                return {f"{operation[0].lower()}{operation[1:]}": {"artifactManifest": {"id": "m1", "file": file}}}
            case "CreateArtifactFiles":
                nodes = [self._artifact_file(each) for each in given["input"]["artifactFiles"]]
                return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}
            case "CommitArtifact":
                self.artifacts.append(given["artifactID"])
                return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": ""}}}
        return None

    def _bucket(self, given: dict[str, Any]) -> dict[str, Any]:
        run = given["name"]
        self.runs[run] = self.runs.get(run, {}) | {key: value for key, value in given.items() if value is not None}
        project = {"id": "p1", "name": given["project"], "entity": _ENTITY}
        return {"id": run, "name": run, "displayName": run, "config": "{}", "project": project, "historyLineCount": 0}

    def _place(self, name: str) -> str:
        return f"{self.address}/storage/{name}"

    def _artifact_file(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "storagePath": asked["name"], "uploadUrl": self._place(asked["name"]), "uploadHeaders": [],
            "artifact": {"id": asked["artifactID"]},
        }  # fmt: skip


@contextmanager
def fake_server() -> Iterator[FakeServer]:
    """A server for as long as the block lasts; afterwards nobody answers at its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as http:
        fake = FakeServer(f"http://127.0.0.1:{http.server_port}")
        http.fake = fake  # pyright: ignore[reportAttributeAccessIssue]
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield fake
        finally:
            http.shutdown()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        fake: FakeServer = self.server.fake  # pyright: ignore[reportAttributeAccessIssue]
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fake.asked += not self.path.startswith("/sdk/otel/")  # how its client fares; whenever it likes
        status, answer = fake.status, {}
        if status != 200:
            answer = {"errors": [{"message": "the key is not known"}]}
        elif self.path == "/graphql":
            asked = json.loads(sent)
            operation = asked["operationName"]
            answer = {"data": fake.answer(operation, asked.get("variables") or {})}
            if answer["data"] is None:
                answer["errors"] = [{"message": f"this server does not know {operation}"}]
        elif stream := re.fullmatch(r"/files/\w+/[^/]+/(\w+)/file_stream", self.path):
            told = json.loads(sent)
            for name, part in (told.get("files") or {}).items():
                fake.streams.setdefault(stream[1], {}).setdefault(name, []).extend(part["content"])
            if told.get("complete"):
                fake.exit_codes[stream[1]] = told["exitcode"]
        elif self.path.startswith("/storage/"):
            fake.files[self.path.removeprefix("/storage/")] = sent
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST

    def log_message(self, format: str, *args: object) -> None:
        del format, args
