"""The embedded default: a world of pictographs, and two tiny models trained on it."""
