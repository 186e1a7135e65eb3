"""What a folder with a model may hold, checked before anything in it is opened by a library.

Weights are safetensors files that lie in the folder itself, every file is a regular one inside it
once links are resolved, and no configuration names a file, a model or code elsewhere.
"""

from guardalign_middleware.model_folder.contents import checked_files
from guardalign_middleware.model_folder.loading_faults import loading_faults
from guardalign_middleware.model_folder.shard_index import INDEX, ShardIndex, read_index
from guardalign_middleware.model_folder.weights import all_weights, loaded_weights, named_weights

__all__ = [
    "INDEX",
    "ShardIndex",
    "all_weights",
    "checked_files",
    "loaded_weights",
    "loading_faults",
    "named_weights",
    "read_index",
]
