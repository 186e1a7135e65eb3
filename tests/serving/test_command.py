"""`guardalign serve`: what it refuses before it loads anything, and its whole life once."""

import inspect
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from typer.testing import CliRunner

from guardalign_middleware import local_extra
from guardalign_middleware.cli import app, serve
from guardalign_middleware.cli.serve_command import serve as command
from guardalign_middleware.config import GuardAlignConfig, ServeConfig
from guardalign_middleware.errors import ConfigError, OutOfMemory
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.serving import extra, server
from guardalign_middleware.serving.warm_up import warm_up
from guardalign_middleware.testing import EchoRunner, counting_guard, red_chain

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The command with doubles in the place of models and of serving."""
    seen: dict[str, Any] = {}

    def run(made: Any, bound: Any) -> int:
        seen.update(service=made.state.service, address=bound.getsockname())
        return signal.SIGTERM

    monkeypatch.setattr(GuardAlign, "from_config", lambda config: red_chain())
    monkeypatch.setattr(ImageGuard, "from_config", lambda config: red_chain().guard)
    monkeypatch.setattr(server, "serve", run)
    monkeypatch.setattr(server, "log_to_stderr", lambda: None)
    return seen


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["serve", "--port", "0", *arguments])


def test_every_field_of_the_section_is_an_option_of_the_command() -> None:
    own = {"context", "mode", "preset", "playground", "ray", "replicas"}
    options = set(inspect.signature(command).parameters) - own
    assert options == set(ServeConfig.model_fields)


def test_options_reach_the_server(quick: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "k" * 32)
    result = invoke("--api-key-env", "THE_KEY", "--max-requests", "3", "--drain-seconds", "0.5")
    assert result.exit_code == 0, result.output
    options = quick["service"].options
    assert (options.config.max_requests, options.config.drain_seconds) == (3, 0.5)
    assert options.api_key == "k" * 32
    assert "clients with the key" in result.output
    assert "k" * 32 not in result.output
    assert quick["address"][0] == "127.0.0.1"


def test_the_section_of_a_preset_is_the_default(quick: dict[str, Any], tmp_path: Path) -> None:
    config = GuardAlignConfig.load("mini")
    section = "serve: {max_images: 2, max_requests: 5, model_name: fish}\n"
    preset = tmp_path / "own.yaml"
    shipped = Path(serve.__file__).parents[1] / "presets" / "mini.yaml"
    text = shipped.read_text().replace("../", f"{shipped.parents[1]}/")
    preset.write_text(text + section)
    assert GuardAlignConfig.load(preset).detection == config.detection
    assert invoke("--preset", str(preset), "--max-requests", "6").exit_code == 0
    service = quick["service"]
    assert (service.config.max_images, service.config.max_requests) == (2, 6)
    assert service.model == "fish"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "needs a key"),
        (["--api-key-env", "NOT_SET"], "NOT_SET should hold a key"),
        (["--max-requests", "0"], "max_requests: Input should be greater than 0"),
        (["--host", "192.0.2.1", "--api-key-env", "THE_KEY"], "Cannot listen on 192.0.2.1"),
    ],
)
def test_what_cannot_be_served_is_one_line_before_anything_loads(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", "k" * 32)
    monkeypatch.setattr(GuardAlign, "from_config", lambda config: pytest.fail("loaded"))
    result = invoke(*arguments)
    assert result.exit_code == 3
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_extra, "find_spec", lambda name: None if name == "fastapi" else name)
    with pytest.raises(ConfigError, match=r"Serving needs fastapi. Install it with: pip install"):
        extra.require_extra()


def test_models_are_used_once_before_the_first_request() -> None:
    guard, encoder = counting_guard()
    chain = GuardAlign(guard, EchoRunner())
    warm_up(chain)
    assert encoder.batches
    assert isinstance(chain.runner, EchoRunner)
    assert len(chain.runner.calls) == 1

    class Small(EchoRunner):
        def generate(self, *args: Any, **kwargs: Any) -> Any:
            raise OutOfMemory("No memory.", stage="generation")

    with pytest.raises(OutOfMemory):
        warm_up(red_chain(runner=Small()))


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", "from guardalign_middleware.cli import main; main()", "serve"]
    environment = {**os.environ, "COLUMNS": "200"}
    with subprocess.Popen(
        [*command, "--port", "0"], stderr=subprocess.PIPE, text=True, env=environment
    ) as started:
        yield started
        started.kill()


@pytest.mark.evidence
def test_the_life_of_a_server(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    url = next(found[0] for line in lines if (found := re.search(r"http://\S+", line)))
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        question: Any = [{"role": "user", "content": "hello"}]
        answer = client.chat.completions.create(model="mini", messages=question)
        assert answer.choices[0].message.content
        assert answer.model_extra is not None
        assert answer.model_extra["guardalign"]["calibration"]["state"] == "on"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_options_of_a_cluster_are_not_ignored_elsewhere() -> None:
    for arguments in (["--replicas", "2"], ["--ray", "local", "--playground"]):
        result = invoke(*arguments)
        assert result.exit_code == 3, result.output
