"""Every error that GuardAlign raises on purpose.

```
GuardAlignError
├── ConfigError          a preset, YAML file, anchor file or option is wrong
├── ModelLoadError       a model cannot be loaded safely and completely
│   └── HubError         the hub does not give a model's files
├── ImageRejected        the input is not an image that the intake policy accepts
├── MessageError         a message or one of its parts is malformed or not allowed
│   └── ContextOverflow  the prompt is longer than the model can read
├── BudgetExceeded       a request holds more than one request may
├── SuiteError           the files of a benchmark are not those its authors published
├── AuditError           a verdict cannot be recorded, or a log cannot be read
└── GuardError           a fault while guarding; never to be read as "allow"
    ├── DetectionError   the encoder or the transport gave an unusable result
    ├── CalibrationError the attention calibration did not happen as configured
    ├── Overloaded       too many requests are waiting for the model
    ├── Unreachable      a guard in another process gave no usable answer
    └── OutOfMemory      there is too little memory for a request, even alone
```

A verdict of `block` is an answer, not an error. A `GuardError` is a fault, so callers can
distinguish "this image is unsafe" from "something failed".
"""

from __future__ import annotations

from typing import Any


class GuardAlignError(Exception):
    """Base class: `message` says what is wrong, and `remedy` what the caller can do about it."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders, and their constructors take keywords that pickle forgets.
        return _restored, (type(self), self.args, self.__dict__)


def _restored(
    kind: type[GuardAlignError], args: tuple[Any, ...], state: dict[str, Any]
) -> GuardAlignError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class ConfigError(GuardAlignError):
    """A preset, a YAML file, an anchor file or an option is wrong."""


class ModelLoadError(GuardAlignError):
    """A model directory or hub id cannot be loaded safely and completely."""


class HubError(ModelLoadError):
    """The hub, or a mirror of it, does not give the files of a model.

    `reason` is a stable code: `unreachable` for a hub that does not answer in time or answers with
    a fault of its own; `not_cached` where it must not be asked and its cache lacks a file;
    `not_found`, `no_revision` and `no_file`; `gated` where its owner asks for consent first;
    `bad_name`; `damaged` for bytes that are not those the hub lists; `bad_cache` for a full disk or
    a folder that cannot be read or written.
    """

    def __init__(self, message: str, *, reason: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.reason = reason


class ImageRejected(GuardAlignError):
    """The input is not an image that the intake policy accepts.

    `reason` is a stable code: `not_found`, `is_directory`, `unreadable`, `empty`, `too_many_bytes`,
    `too_many_pixels`, `too_many_images`, `extreme_aspect`, `unknown_format`, `format_not_allowed`,
    `format_not_installed`, `corrupt`, `multiple_frames`, `too_many_frames`, `unsupported_mode`,
    `bad_data_url`, `path_not_allowed`, `unsupported_type`; for PDF files also `pdf_not_allowed`,
    `encrypted`, `dynamic_form`, `too_many_pages` and `too_complex`; for URLs also
    `url_not_allowed`, `address_not_allowed`, `too_many_redirects`, `timed_out` and `unreachable`.
    """

    def __init__(self, message: str, *, reason: str, source: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.reason = reason
        self.source = source


class MessageError(GuardAlignError):
    """A message or one of its parts is malformed, unknown or not allowed."""


class ContextOverflow(MessageError):
    """The prompt is longer than the model can read.

    Attributes:
        tokens: length of the prompt, with image tokens, template and safety prefix; the part that
            was counted, where that is more than enough.
        limit: what the model can read.
    """

    def __init__(self, message: str, *, tokens: int, limit: int, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.tokens = tokens
        self.limit = limit


class BudgetExceeded(GuardAlignError):
    """A request holds more pictures, pixels or text than one request may; nothing was answered."""


class SuiteError(GuardAlignError):
    """The files of a benchmark are not those its authors published: a row, column or picture.

    Attributes:
        suite: its name in `evaluation.suites.SUITES`.
    """

    def __init__(self, message: str, *, suite: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.args = (f"{suite}: {self.args[0]}",)
        self.suite = suite


class AuditError(GuardAlignError):
    """A verdict cannot be recorded, or an audit log or its key cannot be read.

    A log that was tampered with is not an error: `audit.verify` reports it.
    """


class GuardError(GuardAlignError):
    """A fault while guarding: nothing was allowed or forwarded.

    `stage` is a stable code: `intake` for reading and decoding; `pdf` for the process that draws
    pages; `forms`, `encode`, `transport` and `detection` for the detector; `words` for reading and
    judging words; `sanitize`; `prefix`, `spans`, `calibration`, `generation` and `output` for the
    answer; `process` for a guard in a forked process; `remote` for a guard behind a URL; `cluster`
    for machines of Ray; `attack` for a failed simulated attack; `judge` for a judge of answers in
    an evaluation.
    """

    def __init__(self, message: str, *, stage: str, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.stage = stage


class DetectionError(GuardError):
    """The encoder or the transport gave an unusable result (NaN, not converged, wrong shape)."""


class CalibrationError(GuardError):
    """The attention calibration did not happen as configured (spans, layers, rows)."""


class Overloaded(GuardError):
    """Too many requests are waiting for the model; retrying later can succeed."""


class Unreachable(GuardError):
    """A guard in another process did not answer, or gave no answer that can be trusted."""


class OutOfMemory(GuardError):
    """Too little memory for a request, even alone; it says nothing about a picture."""
