"""The table of icons and the atlas that is rendered from it."""

from guardalign_middleware.mini.world import concepts_of_style
from training.icons import ENCODED, NAMED


def test_the_atlas_draws_what_the_table_names_each_by_one_font() -> None:
    named = [name for table in (*NAMED.values(), *ENCODED.values()) for name in table]
    assert sorted(named) == sorted(concept.name for concept in concepts_of_style("icons"))
