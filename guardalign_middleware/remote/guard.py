"""`RemoteImageGuard`: an `ImageGuard` whose models are in another process."""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, NoReturn, Self
from weakref import WeakSet

from guardalign_middleware.async_forms import AsyncForms
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.connections import checked_key
from guardalign_middleware.encode import Encoded
from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.intake import load_frames, load_image
from guardalign_middleware.intake.load import ImageSource
from guardalign_middleware.output import GuardOutput
from guardalign_middleware.remote.address import checked_url
from guardalign_middleware.remote.connection import Connection
from guardalign_middleware.remote.questions import Questions, describe
from guardalign_middleware.remote.remembered import Ask, Remembered, Result
from guardalign_middleware.sanitize import Cleaning, SanitizedImage
from guardalign_middleware.turns import Turn, joins_words, of_frames
from guardalign_middleware.types import CanonicalImage, Verdict
from guardalign_middleware.unscanned import worst
from guardalign_middleware.wire import GuardDescription


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known of the guard, and what it has answered."""

    questions: Questions
    output: GuardOutput
    verdicts: Remembered[Verdict]
    cleanings: Remembered[Cleaning]

    @property
    def config(self) -> GuardAlignConfig:
        return self.questions.config


class RemoteImageGuard(AsyncForms):
    """The guard behind a URL, with the methods and results of `ImageGuard`; threads may share it.

    Pictures are decoded here, once, under the policy of the guard, and sent to `guardalign serve`.
    Verdicts come back with all of their evidence, and what is unsafe is hidden here, in the very
    pixels that were decoded. A verdict about any other pixels is refused.

    Nothing is sent before the guard is first used, or given to an adapter; its settings are read
    then. A guard that is replaced by one with other settings is refused from then on. Results are
    remembered as `ImageGuard` does, unless the guard keeps an audit log, which has a line for every
    call.

    Args:
        url: base URL of `guardalign serve`, without /v1.
        api_key: its key.
        timeout: seconds for one request, waiting for its turn included.
        retries: how often a request that the guard did not take may be repeated.
        tls: trusted certificates; None = the authorities that httpx trusts.
        allow_http: whether pictures and key may leave this machine without encryption.

    Raises:
        ConfigError: a wrong URL or key, or http to another machine without `allow_http`.

    Example:
        ```python
        from langchain_guardalign import ImageGuardRunnable

        guard = RemoteImageGuard("https://guard.example", api_key=os.environ["GUARDALIGN_KEY"])
        chain = ImageGuardRunnable(guard=guard) | model
        ```
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = 60.0,
        retries: int = 3,
        tls: ssl.SSLContext | None = None,
        allow_http: bool = False,
    ) -> None:
        if not 0 < timeout < float("inf"):
            raise ConfigError(f"timeout should be > 0 and finite. Received {timeout}.")
        if retries < 0:
            raise ConfigError(f"retries should be >= 0. Received {retries}.")
        base = checked_url(url, allow_http=allow_http)
        self._connection = Connection(base, checked_key(api_key), timeout, retries, tls)
        self._description: GuardDescription | None = None
        self._failed_open = 0
        self._forget()
        _GUARDS.add(self)

    def _forget(self) -> None:
        """Hold no lock and no socket: at the start, and in a forked process."""
        self._connection.forget()
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.label!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("A RemoteImageGuard cannot be pickled: it holds a key. Make it where used.")

    def close(self) -> None:
        """Close the connections; every later call is refused."""
        self._connection.close()

    @property
    def config(self) -> GuardAlignConfig:
        """The guard's config, with neither its audit log nor a runner; asked for once.

        Raises:
            ConfigError: the key is refused, or there is no guard of this version.
            Unreachable: the guard did not answer.
        """
        return self._guard().config

    @property
    def identity(self) -> dict[str, Any]:
        """What a result depends on, as plain JSON values; see `LazyGuard.identity`."""
        known = self._guard()
        return {"guard": known.config.name, "fingerprint": known.questions.guard.guard}

    @property
    def failed_open(self) -> int:
        """How many images were allowed unscanned so far, by `on_fault="allow"` of the guard."""
        with self._lock:
            return self._failed_open

    def load(self, source: ImageSource) -> CanonicalImage:
        """As `ImageGuard.load`, in this process."""
        known = self._guard()
        return known.output.fitted(load_image(source, known.config.intake))

    def load_frames(self, source: ImageSource) -> tuple[CanonicalImage, ...]:
        """As `ImageGuard.load_frames`, in this process."""
        known = self._guard()
        frames = load_frames(source, known.config.intake)
        return tuple(known.output.fitted(frame) for frame in frames)

    def encode(self, image: CanonicalImage, passed: Verdict | None = None) -> Encoded:
        """As `ImageGuard.encode`, in this process."""
        return self._guard().output.encode(image, passed)

    def scan(self, source: ImageSource, *, view_seed: str | None = None) -> Verdict:
        """As `ImageGuard.scan`; raises `Unreachable` as well, and `ConfigError` for a wrong key."""
        return self._scan_files([source], view_seed)[0]

    def scan_many(
        self, sources: Sequence[ImageSource], *, turns: Sequence[Turn] = ()
    ) -> list[Verdict]:
        """As `ImageGuard.scan_many`; raises as `scan` does."""
        return self._scan_files(sources, None, turns)

    def sanitize(self, source: ImageSource, *, view_seed: str | None = None) -> SanitizedImage:
        """As `ImageGuard.sanitize`; raises `Unreachable` as well."""
        return self._sanitize_files([source], view_seed)[0]

    def sanitize_many(
        self, sources: Sequence[ImageSource], *, turns: Sequence[Turn] = ()
    ) -> list[SanitizedImage]:
        """As `ImageGuard.sanitize_many`; raises as `sanitize` does."""
        return self._sanitize_files(sources, None, turns)

    def _scan_files(
        self, sources: Sequence[ImageSource], view_seed: str | None, turns: Sequence[Turn] = ()
    ) -> list[Verdict]:
        files = [self.load_frames(source) for source in sources]
        frames = [frame for file in files for frame in file]
        known = self._guard()
        # Only guards of texts judge the words of a turn together.
        if turns and joins_words(known.config):
            verdicts = known.verdicts.by_turn(frames, of_frames(turns, files))
        else:
            verdicts = known.verdicts.answers(frames, view_seed)
        about = [verdict.about(frame) for frame, verdict in zip(frames, verdicts, strict=True)]
        return worst(files, about)

    def _sanitize_files(
        self, sources: Sequence[ImageSource], view_seed: str | None, turns: Sequence[Turn] = ()
    ) -> list[SanitizedImage]:
        if not sources:
            return []
        images = [self.load(source) for source in sources]
        known = self._guard()
        if turns and joins_words(known.config):
            cleanings = known.cleanings.by_turn(images, turns)
        else:
            cleanings = known.cleanings.answers(images, view_seed)
        return [self._cleaned(*pair) for pair in zip(images, cleanings, strict=True)]

    def _cleaned(self, image: CanonicalImage, cleaning: Cleaning) -> SanitizedImage:
        """The result for a picture: what the guard has found is hidden here."""
        known = self._guard()
        try:
            item = cleaning.repeat(image, known.config.sanitize)
        except ValueError as error:
            raise known.questions.unusable(f"found something outside: {error}") from error
        if item.image is not None and item.passed is not None:
            if item.passed.sha256 != item.image.sha256:
                raise GuardError(
                    f"{image.source} was cleaned differently here than where it was scanned.",
                    stage="sanitize",
                    remedy="Install the same version of Pillow on both sides, or set "
                    "sanitize.method to mask.",
                )
        return replace(item, encoder=known.output.encode)

    def _guard(self) -> _Known:
        with self._lock:
            if self._known is None:
                self._description = self._description or describe(self._connection)
                self._known = self._knowing(Questions(self._connection, self._description))
            return self._known

    def _knowing(self, questions: Questions) -> _Known:
        config, guard = questions.config, questions.guard
        output = GuardOutput(config, lambda: f"remote:{guard.guard}")

        def remembered(
            ask: Ask[Result],
            verdict_of: Callable[[Result], Verdict],
            of_passed: Callable[[Verdict], Result],
        ) -> Remembered[Result]:
            def noted(
                images: Sequence[CanonicalImage], turns: Sequence[Turn], view_seed: str | None
            ) -> Iterator[Result]:
                for result in ask(images, turns, view_seed):
                    if verdict_of(result).fault is not None:
                        with self._lock:
                            self._failed_open += 1
                    yield result

            return Remembered(
                *(config.detection, noted, verdict_of, of_passed, output.passed, guard.records)
            )

        return _Known(
            questions,
            output,
            remembered(questions.verdicts, lambda verdict: verdict, lambda verdict: verdict),
            remembered(
                questions.cleanings,
                lambda cleaning: cleaning.verdict,
                lambda verdict: Cleaning(verdict, 0, 0.0, verdict.distance, (), verdict),
            ),
        )


_GUARDS: WeakSet[RemoteImageGuard] = WeakSet()


def _forget_all() -> None:
    for guard in list(_GUARDS):
        guard._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
