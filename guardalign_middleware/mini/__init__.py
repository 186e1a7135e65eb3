"""The embedded default: a pictograph world and two tiny models trained on it."""
