"""Says how to install what models in this process need, before an import of torch fails.

The distribution `guardalign-core` brings what a guard in another process needs; its extra `local`,
which `guardalign-middleware` includes, brings the libraries of the models.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from guardalign_middleware.errors import ConfigError

LIBRARIES = ("open_clip", "ot", "safetensors", "scipy", "tokenizers", "torch", "transformers")
"""What is imported of the extra `local`."""


def install(extra: str) -> str:
    """The command that installs an extra, in a clone and from an index.

    It names the installed distribution, so pip reads what the extra needs from its metadata and
    asks no index for the package itself.
    """
    return f"pip install 'guardalign-core[{extra}]'"


def require_extra(extra: str, what: str, libraries: Iterable[str]) -> None:
    """Check that what an extra of the distributions brings is installed.

    Args:
        extra: its name.
        what: needs it, with its verb: "Serving needs".
        libraries: that it brings, by the names they are imported under.

    Raises:
        ConfigError: one of them is missing; the message names all that are.
    """
    missing = _missing(libraries)
    if missing:
        raise ConfigError(
            f"{what} {missing}.",
            remedy=f"Install it with: {install(extra)}",
        )


def require_int8() -> None:
    """Check that what encoders in int8 need is installed, before anything is loaded.

    Raises:
        ConfigError: a library is missing.
    """
    require_extra("fast", "encoder.precision int8 needs", ("onnx", "onnxruntime", "onnxscript"))


def _missing(libraries: Iterable[str]) -> str:
    return ", ".join(name for name in libraries if find_spec(name) is None)


def require_local() -> None:
    """Check that the extra `local` is installed.

    Raises:
        ConfigError: it is not.
    """
    missing = _missing(LIBRARIES)
    if missing:
        raise ConfigError(
            f"Models in this process need {missing}, which this installation of "
            "guardalign-core does not have.",
            remedy=f"Run `{install('local')}`. A guard in another process needs none of them: "
            "use RemoteImageGuard.",
        )
