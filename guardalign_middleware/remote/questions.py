"""What is asked of a guard, and whether its answers can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.config.base import invalid_fields
from guardalign_middleware.errors import DetectionError, GuardError
from guardalign_middleware.remote.connection import STAGE, Connection
from guardalign_middleware.remote.parcels import Parcel, parcels
from guardalign_middleware.sanitize import Cleaning
from guardalign_middleware.turns import Turn
from guardalign_middleware.types import CanonicalImage, Verdict
from guardalign_middleware.wire import (
    GuardDescription,
    SanitizeRequest,
    SanitizeResponse,
    ScanRequest,
    ScanResponse,
    WireCleaning,
    WireVerdict,
)
from guardalign_middleware.wire.base import WireModel

_PATH = "v1/guard"
Result = TypeVar("Result", Verdict, Cleaning)
Answer = TypeVar("Answer", ScanResponse, SanitizeResponse)
Model = TypeVar("Model", bound=WireModel)


def describe(connection: Connection) -> GuardDescription:
    """What a guard tells about itself.

    Raises:
        ConfigError, Unreachable: as for `Connection.post`.
    """
    return _valid(connection, GuardDescription, connection.get(_PATH))


class Questions:
    """Asks one guard about pictures; threads may share it.

    Args:
        connection: the way to the guard.
        guard: what the guard told about itself.

    Raises:
        ConfigError: it has settings that this version does not know.
    """

    def __init__(self, connection: Connection, guard: GuardDescription) -> None:
        self._connection = connection
        self.guard = guard
        self.config: GuardAlignConfig = guard.config()

    def verdicts(
        self, images: Sequence[CanonicalImage], turns: Sequence[Turn], view_seed: str | None
    ) -> Iterator[Verdict]:
        """The guard's verdicts, as its answers arrive: one request may not hold all pictures.

        Args:
            images: decoded pictures.
            turns: the turns that they belong to; empty where each is judged by itself.
            view_seed: of an earlier verdict, to repeat its random views.

        Raises:
            DetectionError: a verdict is about another picture.
            GuardError: the guard is not the one that was described.
            GuardAlignError: as for `Connection.post`.
        """

        def ask(parcel: Parcel) -> list[Verdict]:
            request = ScanRequest(
                images=parcel.sent, turns=parcel.turns, view_seed=view_seed, evidence=True
            )
            answer = self._exchange("/scan", request, ScanResponse)
            return [self._verdict(item) for item in answer.verdicts]

        return self._ask(images, turns, ask, lambda verdict: verdict)

    def cleanings(
        self, images: Sequence[CanonicalImage], turns: Sequence[Turn], view_seed: str | None
    ) -> Iterator[Cleaning]:
        """How the guard cleans pictures; arguments and errors as for `verdicts`."""

        def ask(parcel: Parcel) -> list[Cleaning]:
            request = SanitizeRequest(
                images=parcel.sent,
                turns=parcel.turns,
                view_seed=view_seed,
                evidence=True,
                picture=False,
            )
            answer = self._exchange("/sanitize", request, SanitizeResponse)
            return [self._cleaning(item) for item in answer.results]

        return self._ask(images, turns, ask, lambda cleaning: cleaning.verdict)

    def unusable(self, what: str) -> GuardError:
        """The error for an answer that cannot be trusted."""
        return self._connection.unusable(what)

    def _ask(
        self,
        images: Sequence[CanonicalImage],
        turns: Sequence[Turn],
        ask: Callable[[Parcel], list[Result]],
        verdict_of: Callable[[Result], Verdict],
    ) -> Iterator[Result]:
        """The guard's results, each about the picture that was sent."""
        for parcel in parcels(images, turns, self.guard):
            found = ask(parcel)
            if not _about(parcel, map(verdict_of, found)):
                # Another version of a decoder there gives slightly different pixels.
                found = ask(parcel.as_pixels())
                if not _about(parcel, map(verdict_of, found)):
                    raise DetectionError(
                        f"The guard at {self._connection.label} answered about other pictures than "
                        "those sent.",
                        stage=STAGE,
                        remedy="Install the same version of GuardAlign on both sides.",
                    )
            yield from found

    def _exchange(self, path: str, request: ScanRequest, answer: type[Answer]) -> Answer:
        body = self._connection.post(f"{_PATH}{path}", request.model_dump_json().encode())
        read = _valid(self._connection, answer, body)
        if read.guard != self.guard.guard:
            raise GuardError(
                f"The guard at {self._connection.label} is not the one whose settings were read.",
                stage=STAGE,
                remedy="Make a new RemoteImageGuard; results of both should not be mixed.",
            )
        return read

    def _verdict(self, item: WireVerdict) -> Verdict:
        try:
            verdict = item.read()
        except ValueError as error:
            raise self.unusable(f"contradicts itself: {error}") from error
        return self._checked(verdict)

    def _cleaning(self, item: WireCleaning) -> Cleaning:
        try:
            cleaning = item.read()
        except ValueError as error:
            raise self.unusable(f"contradicts itself: {error}") from error
        self._checked(cleaning.verdict)
        return cleaning

    def _checked(self, verdict: Verdict) -> Verdict:
        if verdict.fault is not None and self.config.on_fault != "allow":
            raise self.unusable("allowed a picture unscanned, against its settings")
        if (verdict.decision == "observe") != (self.config.mode == "observe"):
            raise self.unusable("observed a picture or acted upon it, against its settings")
        return verdict


def _valid(connection: Connection, kind: type[Model], body: dict[str, Any]) -> Model:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise connection.unusable(
            f"gave an answer that cannot be read ({invalid_fields(error)})"
        ) from error


def _about(parcel: Parcel, verdicts: Iterable[Verdict]) -> bool:
    """Whether the verdicts are about the pictures of a parcel."""
    return [verdict.sha256 for verdict in verdicts] == [image.sha256 for image in parcel.images]
