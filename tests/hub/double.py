"""A local double of the hub: its addresses, headers, redirects and refusals, over folders.

It follows what the hub answers to the calls of huggingface_hub: a model's record, its tree, and
`resolve`, which redirects large files to a place without a login and small ones to a cache. Large
files have the SHA-256 as their tag, small ones git's digest. What can go wrong is set per
repository and file, in `Faults`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

HOSTS = ("127.0.0.1", "127.0.0.2")
"""The hub, and the store that its large files lie in."""
LARGE = (".safetensors", ".bin", ".pt", ".parquet", ".jpg", ".png", ".zip")
"""What is stored as a large file, by suffix."""

_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?")
_RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_BLOB = re.compile(r"/-blob/([0-9a-f]+)/([0-9a-f]+)")


@dataclass
class Faults:
    """What goes wrong.

    Attributes:
        refused: status for every request, as of a hub that is down.
        silent: seconds before any answer.
        unlisted: seconds before the answer to a question for the list of files.
        cut: file → bytes after which its connection is closed, as often as `cuts` says.
        cuts: how many connections are closed so.
        wrong: files that arrive with other bytes of the same length.
        missing: files that are listed, and cannot be had.
    """

    refused: int | None = None
    silent: float = 0.0
    unlisted: float = 0.0
    cut: dict[str, int] = field(default_factory=dict)
    cuts: int = 1
    wrong: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)


@dataclass
class Repository:
    """A repository of the double.

    Attributes:
        folder: its files.
        licence: as its card declares it.
        gated: whether its files need a token of `Hub.tokens`.
        dataset: whether it is a data set.
        commit: of its only revision besides those in `refs`.
        refs: branches and tags, with their commits.
    """

    folder: Path
    licence: str | None = None
    gated: bool = False
    dataset: bool = False
    commit: str = ""
    refs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # As of git: another content is another commit.
        lines = "".join(f"{name} {digest(path)}\n" for name, path in self.files())
        self.commit = self.commit or hashlib.sha1(lines.encode()).hexdigest()
        self.refs.setdefault("main", self.commit)

    def files(self) -> list[tuple[str, Path]]:
        """Names and paths, in order."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted((path.relative_to(self.folder).as_posix(), path) for path in found)

    def resolved(self, revision: str) -> str | None:
        """The commit of a revision."""
        if revision in {self.commit, *self.refs.values()}:
            return revision
        return self.refs.get(revision)


class Hub:
    """The double, on a port of the loopback address.

    Attributes:
        repositories: by `owner/name`.
        tokens: those that may read gated repositories.
        faults: what goes wrong.
        requests: method and path of each request, in order.
        sent: bytes of files that were sent.
        leaked: whether a token came to the store of large files.
    """

    def __init__(
        self, repositories: Mapping[str, Repository], *, prefix: str = "", port: int = 0
    ) -> None:
        self.repositories = dict(repositories)
        self.tokens: set[str] = set()
        self.faults = Faults()
        self.requests: list[str] = []
        self.sent = 0
        self.leaked = False
        self.prefix = prefix
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self.servers = [ThreadingHTTPServer((host, port), Handler) for host in HOSTS]
        self.endpoint, self.store = (
            f"http://{host}:{server.server_port}{prefix}"
            for host, server in zip(HOSTS, self.servers, strict=True)
        )

    @contextmanager
    def running(self) -> Iterator[Hub]:
        """Answer until the block ends."""
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield self
        finally:
            for server in self.servers:
                server.shutdown()
                server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        if self.path.endswith("/api/agent-harnesses"):  # asked once in a process, for no file
            self._json(404, {"error": "Not found"})
            return
        self.hub.requests.append(f"{self.command} {self.path}")
        if self.server is self.hub.servers[1] and self._token():
            self.hub.leaked = True
        faults = self.hub.faults
        if faults.silent:
            threading.Event().wait(faults.silent)
        if faults.refused is not None:
            self._json(faults.refused, {"error": "The hub is down."})
            return
        parts = urlsplit(self.path)
        path = unquote(parts.path.removeprefix(self.hub.prefix))
        if found := _BLOB.fullmatch(path):
            self._blob(found[1], found[2])
        elif found := _API.fullmatch(path):
            self._record(
                found[1] == "datasets", found[2], found[3], found[4], parse_qs(parts.query)
            )
        elif found := _RESOLVE.fullmatch(path):
            self._resolve(bool(found[1]), found[2], found[3], found[4])
        else:
            self._json(404, {"error": "Not found"})

    def _repository(self, dataset: bool, name: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        if repository is None or repository.dataset != dataset:
            # As the hub: who is not logged in does not learn what exists.
            status = 404 if self._token() in self.hub.tokens else 401
            self._error(status, "RepoNotFound", "Repository not found")
            return None
        return repository

    def _token(self) -> str:
        return (self.headers.get("authorization") or "").removeprefix("Bearer ")

    def _record(
        self,
        dataset: bool,
        name: str,
        kind: str | None,
        revision: str | None,
        query: dict[str, list[str]],
    ) -> None:
        repository = self._repository(dataset, name)
        if repository is None:
            return
        commit = repository.resolved(revision or "main")
        if commit is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif kind == "tree":
            if self.hub.faults.unlisted:
                threading.Event().wait(self.hub.faults.unlisted)
            # The listing of a gated repository is public, its files are not.
            entries = [_entry(file, path) for file, path in repository.files()]
            self._json(200, entries)
        else:
            blobs = "blobs" in query
            self._json(200, _record(name, repository, commit, blobs=blobs))

    def _resolve(self, dataset: bool, name: str, revision: str, file: str) -> None:
        repository = self._repository(dataset, name)
        if repository is None:
            return
        commit = repository.resolved(revision)
        if commit is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        if repository.gated and self._token() not in self.hub.tokens:
            status = 403 if self._token() else 401
            self._error(status, "GatedRepo", f"Access to model {name} is restricted.")
            return
        path = dict(repository.files()).get(file)
        if path is None or file in self.hub.faults.missing:
            self._error(404, "EntryNotFound", "Entry not found", commit)
            return
        tag = digest(path)
        # Small files lead to another address of the same host, large ones to a store without login.
        large = path.suffix in LARGE
        place = f"{self.hub.store if large else self.hub.prefix}/-blob/{commit}/{tag}"
        headers = {
            "X-Repo-Commit": commit,
            "X-Linked-ETag": f'"{tag}"',
            "X-Linked-Size": str(path.stat().st_size),
            "ETag": f'"{tag}"',
            "Location": place,
            "Content-Length": "0",
        }
        self._head(HTTPStatus.FOUND if large else HTTPStatus.TEMPORARY_REDIRECT, headers)

    def _blob(self, commit: str, tag: str) -> None:
        for repository in self.hub.repositories.values():
            for name, path in repository.files():
                if repository.commit == commit and digest(path) == tag:
                    self._file(name, path, tag, commit)
                    return
        self._json(404, {"error": "Not found"})

    def _file(self, name: str, path: Path, tag: str, commit: str) -> None:
        faults = self.hub.faults
        size = path.stat().st_size
        first, status = 0, HTTPStatus.OK
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("range") or ""):
            first, status = int(asked[1]), HTTPStatus.PARTIAL_CONTENT
            headers["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
        self._head(status, {**headers, "Content-Length": str(size - first)})
        if self.command == "HEAD":
            return
        data = path.read_bytes()[first:]
        if name in faults.wrong:
            data = bytes(len(data))
        if name in faults.cut and faults.cuts > 0:
            faults.cuts -= 1
            data = data[: faults.cut[name]]
            self.close_connection = True
        self.hub.sent += len(data)
        self.wfile.write(data)

    def _error(self, status: int, code: str, message: str, commit: str | None = None) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        if commit is not None:
            headers["X-Repo-Commit"] = commit
        self._json(status, {"error": message}, headers)

    def _json(self, status: int, value: Any, headers: Mapping[str, str] = {}) -> None:  # noqa: B006
        body = json.dumps(value).encode()
        self._head(
            status,
            {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers},
        )
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def digest(path: Path) -> str:
    """The tag of a file: SHA-256 of a large one, git's digest of a small one."""
    status = path.stat()
    return _digest(path, (status.st_size, status.st_mtime_ns))


_DIGESTS: dict[tuple[Path, tuple[int, int]], str] = {}


def _digest(path: Path, state: tuple[int, int]) -> str:
    key = (path, state)
    if key not in _DIGESTS:
        if path.suffix in LARGE:
            with path.open("rb") as file:
                _DIGESTS[key] = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            data = path.read_bytes()
            _DIGESTS[key] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return _DIGESTS[key]


def _entry(name: str, path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    entry: dict[str, Any] = {"type": "file", "oid": digest(path)[:40], "size": size, "path": name}
    if path.suffix in LARGE:
        entry["lfs"] = {"oid": digest(path), "size": size, "pointerSize": 134}
    return entry


def _record(name: str, repository: Repository, commit: str, *, blobs: bool) -> dict[str, Any]:
    siblings: list[dict[str, Any]] = []
    for file, path in repository.files():
        sibling: dict[str, Any] = {"rfilename": file}
        if blobs:
            sibling |= {"size": path.stat().st_size, "blobId": digest(path)[:40]}
            if path.suffix in LARGE:
                sibling["lfs"] = {
                    "sha256": digest(path),
                    "size": path.stat().st_size,
                    "pointerSize": 134,
                }
        siblings.append(sibling)
    licence = repository.licence
    return {
        "_id": "0" * 24,
        "id": name,
        "modelId": name,
        "author": name.split("/")[0],
        "sha": commit,
        "private": False,
        "disabled": False,
        "gated": "manual" if repository.gated else False,
        "tags": [] if licence is None else [f"license:{licence}"],
        "cardData": {} if licence is None else {"license": licence},
        "createdAt": "2024-01-01T00:00:00.000Z",
        "lastModified": "2024-01-01T00:00:00.000Z",
        "downloads": 0,
        "likes": 0,
        "siblings": siblings,
    }
