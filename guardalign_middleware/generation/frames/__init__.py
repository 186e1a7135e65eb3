"""The frames that the runner's processor hands to the model, found without knowing the family."""

from guardalign_middleware.local_extra import require_local

require_local()  # before the imports of transformers

from guardalign_middleware.generation.frames.forms import ProcessorForms

__all__ = ["ProcessorForms"]
