"""How well a guard does, and how it can be evaded."""
