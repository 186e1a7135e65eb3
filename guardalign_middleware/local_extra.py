"""Says how to install what models in this process need, before an import of torch fails.

The distribution `guardalign-core` brings what a guard in another process needs; its extra `local`,
which `guardalign-middleware` includes, brings the libraries of the models.
"""

from __future__ import annotations

from importlib.util import find_spec

from guardalign_middleware.errors import ConfigError

LIBRARIES = ("open_clip", "ot", "safetensors", "scipy", "tokenizers", "torch", "transformers")
"""What is imported of the extra `local`."""


def require_local() -> None:
    """Check that the extra `local` is installed.

    Raises:
        ConfigError: it is not.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Models in this process need {', '.join(missing)}, which this installation of "
            "guardalign-core does not have.",
            remedy="Run `pip install guardalign-middleware`, or in a clone of the repository "
            "`pip install -e '.[local]'`. A guard in another process needs none of them: use "
            "RemoteImageGuard.",
        )
