"""What the routes of one server share."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.faults import is_lost_device
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.intake.budget import request_budget
from guardalign_middleware.miniature import is_its_own_model, is_miniature, miniature_warning
from guardalign_middleware.serving.admission import Admission
from guardalign_middleware.serving.errors import ApiError, as_api_error, unavailable
from guardalign_middleware.serving.metrics import Metrics
from guardalign_middleware.serving.options import ServeOptions
from guardalign_middleware.types import Verdict

_LOGGER = logging.getLogger(__name__)
_LOST = "The accelerator failed. The server has to be restarted."


@dataclass(frozen=True, eq=False)
class Service:
    """A guard, perhaps a model behind it, and what the server allows.

    Attributes:
        guard: scans and cleans.
        chain: answers; None where nothing local does.
        options: limits and keys.
        admission: how many requests are at work, and whether the server is closing.
        metrics: what is counted.
    """

    guard: ImageGuard
    chain: GuardAlign | None
    options: ServeOptions
    admission: Admission
    metrics: Metrics
    # Set once a client has asked for the guard alone.
    _asked_alone: threading.Event = field(default_factory=threading.Event, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @classmethod
    def of(cls, served: GuardAlign | ImageGuard, options: ServeOptions) -> Service:
        """A service of a chain, or of a guard alone.

        Raises:
            ConfigError: the guard is in another process.
        """
        admission = Admission(options.config)
        metrics = Metrics(admission)
        chain = served if isinstance(served, GuardAlign) else None
        guard = served.guard if isinstance(served, GuardAlign) else served
        if not isinstance(guard, ImageGuard):
            raise ConfigError(
                f"A server needs an ImageGuard. Received {guard!r}.",
                remedy="Serve the guard where its models are.",
            )
        return cls(guard, chain, options, admission, metrics)

    @property
    def config(self) -> ServeConfig:
        """The limits."""
        return self.options.config

    @property
    def model(self) -> str:
        """The model's name for clients."""
        return self.config.model_name or self.guard.config.name

    @property
    def warning(self) -> str | None:
        """That the guard is the miniature one, unless it stands before its own model only."""
        if not is_miniature(self.guard.config):
            return None
        if self.config.upstream is not None:
            what = "the service behind it"
        elif self.chain is None or self._asked_alone.is_set():
            what = "whatever asks it"
        elif is_its_own_model(self.chain.runner.config.model):
            return None
        else:
            what = f"the model {self.chain.runner.config.model}"
        return miniature_warning(self.guard.config, "The server", what)

    @property
    def broken(self) -> str:
        """Why the server has to be restarted; empty if it has not.

        With `on_fault="allow"` it takes requests all the same, and scans nothing.
        """
        return self.admission.broken or (_LOST if self.guard.device_lost else "")

    def budget(self) -> AbstractContextManager[None]:
        """Bound the pictures that one request may decode; for the time of reading it."""
        return request_budget(self.config.max_images, self.config.max_pixels)

    def count(self, verdicts: Iterable[Verdict]) -> None:
        """Count pictures for the metrics, where no answer of a model follows."""
        for verdict in verdicts:
            self.metrics.image(verdict)

    def guards_alone(self) -> None:
        """Note that a client asks for the guard, and has another model answer.

        The first time, a miniature guard that stood before its own model until then is a warning
        in the log; from then on `warning` says so.
        """
        with self._lock:
            known = self.warning
            self._asked_alone.set()
            if known is None and self.warning is not None:
                _LOGGER.warning("%s", self.warning)

    def require_model(self, name: str) -> None:
        """Check the model that a request names.

        Raises:
            ApiError: 404, there is no such model.
        """
        if name != self.model:
            raise ApiError(
                404,
                f"There is no model {name!r} here. This server has {self.model!r}.",
                code="model_not_found",
                param="model",
            )

    def refusal_for(self, error: Exception) -> ApiError:
        """The refusal for an error; a lost device ends the taking of requests.

        After an error on an accelerator, every later call of the process fails, too.
        """
        refusal = as_api_error(error)
        if not is_lost_device(error):
            return refusal
        self.admission.give_up(_LOST)
        return unavailable(
            self.admission.broken, self.config.retry_after_seconds, code="device_lost"
        )
