"""The servers of Ray Serve, from the first request to the last: the real models, once."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import guardalign_middleware
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.scale.application import Arguments
from guardalign_middleware.scale.serving import deploy, end
from guardalign_middleware.testing import picture, png

PACKAGE = Path(guardalign_middleware.__file__).parent
PICTURE = "data:image/png;base64," + base64.b64encode(png(picture())).decode()
SECONDS = 300
pytestmark = [pytest.mark.enable_socket, pytest.mark.filterwarnings("ignore")]


def preset(folder: Path, name: str, **changes: Any) -> str:
    """The miniature with its profile changed."""
    text = (PACKAGE / "presets" / "mini.yaml").read_text().replace("../mini/", f"{PACKAGE}/mini/")
    fields = yaml.safe_load(text)
    profile = json.loads((PACKAGE / "mini" / "profile.json").read_text())
    changes["binding"] = {**profile["binding"], **changes.get("binding", {})}
    (folder / f"{name}.json").write_text(json.dumps({**profile, **changes}))
    fields["detection"]["profile"] = str(folder / f"{name}.json")
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(fields))
    return str(folder / f"{name}.yaml")


class Server:
    """Two servers behind Ray's proxy, each with two places, and room for two to wait."""

    def __init__(self, ray: Any, folder: Path) -> None:
        self._ray, self._folder = ray, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=SECONDS)

    def deploy(self, name: str, **changes: Any) -> None:
        options = {"host": "127.0.0.1", "port": self._port, "max_requests": 2}
        arguments = Arguments(
            preset=preset(self._folder, name, **changes),
            options=options,
            replicas=(2, 2),
            cpus=0.25,
            max_queued=2,
        )
        deploy(self._ray, arguments)

    def scan(self) -> httpx.Response:
        return self.client.post("/v1/guard/scan", json={"images": [{"image": PICTURE}]})

    def profile(self) -> str:
        answer = self.scan()
        assert answer.status_code == 200, answer.text
        return str(answer.json()["verdicts"][0]["profile"])


@pytest.fixture(scope="module")
def server(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    from ray import serve

    made = Server(cluster, tmp_path_factory.mktemp("presets"))
    made.deploy("first")
    yield made
    made.client.close()
    end()
    serve.shutdown()


def test_answers_are_streamed(server: Server) -> None:
    content = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": PICTURE}},
    ]
    asked = {"model": "mini", "stream": True, "messages": [{"role": "user", "content": content}]}
    with server.client.stream("POST", "/v1/chat/completions", json=asked) as answer:
        assert answer.status_code == 200
        lines = [line for line in answer.iter_lines() if line]
    assert len(lines) > 3
    assert lines[-1] == "data: [DONE]"


def test_a_full_server_answers_as_openais_does(server: Server) -> None:
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda _: server.scan(), range(24)))
    assert {answer.status_code for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert answer.json()["error"]["code"] == "overloaded"
            assert int(answer.headers["retry-after"]) >= 1
    assert server.scan().status_code == 200


def test_an_unknown_endpoint_is_an_error_of_the_server(server: Server) -> None:
    answer = server.client.get("/v1/nothing")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_ray_writes_no_line_of_its_own_about_a_request(server: Server, cluster: Any) -> None:
    assert server.client.get("/health?visitor=17").status_code == 200
    (node,) = cluster.nodes()
    logs = Path(node["ObjectStoreSocketName"]).parents[1] / "logs" / "serve"
    files = list(logs.glob("*.log"))
    assert {"proxy", "replica"} <= {file.name.partition("_")[0] for file in files}
    assert not [line for file in files for line in file.read_text().splitlines() if "INFO" in line]


def test_new_thresholds_drop_no_request_and_broken_ones_change_nothing(server: Server) -> None:
    before = server.profile()
    statuses: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            statuses.append(server.scan().status_code)

    callers = [threading.Thread(target=ask) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        server.deploy("second", guarantee="another one")
        during = len(statuses)
        with pytest.raises(ConfigError, match="fitted with different encoder"):
            server.deploy("broken", binding={"encoder": "another"})
    finally:
        over.set()
        for caller in callers:
            caller.join()
    assert during > 2
    assert set(statuses) == {200}
    after = {server.profile() for _ in range(6)}
    assert len(after) == 1
    assert before not in after
