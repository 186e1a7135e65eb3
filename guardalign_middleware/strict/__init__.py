"""Strict readers of the files that configure a guard: bounded, plain values, one meaning only.

They know no field: each loader says with its own error which file and which field is wrong.
"""

from guardalign_middleware.strict.files import (
    Malformed,
    check_text,
    is_folder,
    is_regular,
    read_bytes,
)
from guardalign_middleware.strict.json_values import json_value, passing_value
from guardalign_middleware.strict.yaml_nodes import yaml_node
from guardalign_middleware.strict.yaml_values import yaml_value

__all__ = [
    "Malformed",
    "check_text",
    "is_folder",
    "is_regular",
    "json_value",
    "passing_value",
    "read_bytes",
    "yaml_node",
    "yaml_value",
]
