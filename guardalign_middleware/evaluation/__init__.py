"""How well a guard does: metrics with intervals."""
