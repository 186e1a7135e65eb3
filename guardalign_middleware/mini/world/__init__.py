"""A procedural world of pictographs, the only pictures that the miniature models know.

Scenes are drawn from small sprite atlases that ship with the package; no fonts are needed.
"""

from guardalign_middleware.mini.world.backgrounds import (
    HELD_OUT_BACKGROUNDS,
    TRAINING_BACKGROUNDS,
    draw_background,
)
from guardalign_middleware.mini.world.concepts import CONCEPTS, UNSAFE_CATEGORIES, Concept
from guardalign_middleware.mini.world.scenes import Item, Scene, draw_scene, place_item
from guardalign_middleware.mini.world.sprites import STYLES, concepts_of_style, sprite

__all__ = [
    "CONCEPTS",
    "HELD_OUT_BACKGROUNDS",
    "STYLES",
    "TRAINING_BACKGROUNDS",
    "UNSAFE_CATEGORIES",
    "Concept",
    "Item",
    "Scene",
    "concepts_of_style",
    "draw_background",
    "draw_scene",
    "place_item",
    "sprite",
]
