"""What Inspect finds by the entry point: the model provider, a task for each suite, the scorer."""

from guardalign_middleware.evaluation.inspect.provider import GuardAlignAPI as GuardAlignAPI
from guardalign_middleware.evaluation.inspect.provider import guardalign as guardalign
from guardalign_middleware.evaluation.inspect.scoring import judged as judged
from guardalign_middleware.evaluation.inspect.tasks import TASKS as TASKS
