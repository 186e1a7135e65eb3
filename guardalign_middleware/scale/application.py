"""The server as an application of Ray Serve, for `guardalign serve --ray` and for YAML files.

```yaml
applications:
  - name: guardalign
    import_path: guardalign_middleware.scale.application:build
    args: {preset: /presets/guard.yaml, options: {api_key_env: GUARDALIGN_KEY}, replicas: [2, 8]}
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError, field_validator

from guardalign_middleware.config import GuardAlignConfig, Mode, ServeConfig
from guardalign_middleware.config.base import FrozenModel, invalid_fields
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.identity import preset_key
from guardalign_middleware.scale.extra import require_ray
from guardalign_middleware.serving.options import MIN_KEY, ServeOptions

if TYPE_CHECKING:
    from ray.serve import Application

NAME = "guardalign"
"""Of the application, and of its deployment."""
LOGS = {"log_level": "WARNING", "enable_access_log": False}
"""What Ray writes itself, for the proxies as well: the server counts requests, and a line for each
would quote its query."""
_SHUTDOWN_SECONDS = 5.0


class Arguments(FrozenModel):
    """The arguments of `build`.

    Attributes:
        preset: name or path, on every machine.
        options: fields of the section `serve`; the host is that of Ray's proxy, and a key is needed
            unless it is this machine's own.
        mode: whether the guard acts on what it finds; None = as the preset says.
        replicas: how many servers at least and at most.
        target_requests: requests at work on each server that more servers are started at.
        max_queued: requests that wait in each proxy for a server; more are answered with 429.
        cpus: of each server.
        gpus: of each server.
        upscale_seconds: how long there must be too many requests.
        downscale_seconds: how long there must be too few.
    """

    preset: str = Field("mini", min_length=1)
    options: dict[str, Any] = {}
    mode: Mode | None = None
    replicas: tuple[int, int] = (1, 1)
    target_requests: float = Field(8.0, gt=0.0, le=1e6)
    max_queued: int = Field(128, ge=1, le=1_000_000)
    cpus: float = Field(1.0, ge=0.0, le=1e4)
    gpus: float = Field(0.0, ge=0.0, le=64.0)
    upscale_seconds: float = Field(5.0, ge=0.0, le=86_400.0)
    downscale_seconds: float = Field(600.0, ge=0.0, le=86_400.0)

    @field_validator("replicas")
    @classmethod
    def _in_order(cls, replicas: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= replicas[0] <= replicas[1] <= 10_000:
            raise ValueError("should be two numbers from 1, the smaller one first")
        return replicas

    @classmethod
    def read(cls, arguments: dict[str, Any]) -> Arguments:
        """The arguments of a YAML file or of the command line.

        Raises:
            ConfigError: one is invalid.
        """
        try:
            return cls.model_validate(arguments)
        except ValidationError as error:
            raise ConfigError(f"The arguments are invalid: {invalid_fields(error)}.") from error


def build(arguments: dict[str, Any]) -> Application:
    """The application; Ray calls this with the `args` of a YAML file.

    Servers that run take over another preset, or other options, one after another; no request is
    dropped.

    Raises:
        ConfigError: an argument or the preset is invalid; what runs goes on.
    """
    require_ray(serving=True)
    read = Arguments.read(arguments)
    limits = limits_of(read)
    from ray import serve

    deployment = serve.deployment(
        serve.ingress()(Guard),
        name=NAME,
        user_config=user_config_of(read),
        autoscaling_config={
            "min_replicas": read.replicas[0],
            "max_replicas": read.replicas[1],
            "target_ongoing_requests": read.target_requests,
            "upscale_delay_s": read.upscale_seconds,
            "downscale_delay_s": read.downscale_seconds,
        },
        # A server takes no more than it admits, so that a free one gets the request.
        max_ongoing_requests=limits.max_requests,
        max_queued_requests=read.max_queued,
        backpressure_config={"status_code": 429, "retry_after_s": limits.retry_after_seconds},
        ray_actor_options={"num_cpus": read.cpus, "num_gpus": read.gpus},
        graceful_shutdown_timeout_s=limits.drain_seconds + _SHUTDOWN_SECONDS,
        graceful_shutdown_wait_loop_s=1.0,
        logging_config=LOGS,
    )
    return deployment.bind()


class Guard:
    """One server: Ray calls `reconfigure` before the first request and for each change."""

    def __init__(self) -> None:
        # Imported on use: building the application needs no models.
        from guardalign_middleware.scale.served import Switch

        self._switch = Switch()

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Serve another preset from now on."""
        preset, options, mode = (user_config[name] for name in ("preset", "options", "mode"))
        await self._switch.change(preset, options, mode)

    def __serve_build_asgi_app__(self) -> Any:
        return self._switch


def user_config_of(arguments: Arguments) -> dict[str, Any]:
    """What Ray hands to the servers that run, as soon as it differs from before.

    Ray compares nothing else, so it tells of the contents of the preset and its files, too.

    Raises:
        ConfigError: the preset is invalid.
    """
    contents = preset_key(GuardAlignConfig.load(arguments.preset))
    return {
        "preset": arguments.preset,
        "options": options_of(arguments),
        "mode": arguments.mode,
        "contents": contents,
    }


def options_of(arguments: Arguments) -> dict[str, Any]:
    """The fields of the section `serve` for the servers."""
    # Their proxy can be reached from elsewhere, unless it is said that it cannot.
    return {"host": "0.0.0.0", **arguments.options}


def limits_of(arguments: Arguments) -> ServeConfig:
    """The limits of a server, checked where its keys need not be known.

    Raises:
        ConfigError: the preset or an option is invalid, or clients need no key and could come from
            elsewhere.
    """
    config, options = GuardAlignConfig.load(arguments.preset), options_of(arguments)
    names = [
        options.get(name) or getattr(config.serve, name)
        for name in ("api_key_env", "upstream_key_env")
    ]
    keys = {name: "0" * MIN_KEY for name in names if isinstance(name, str)}
    return ServeOptions.read(config.serve, keys, **options).config
