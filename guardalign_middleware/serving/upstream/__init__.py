"""A service of another maker behind the guard: pictures are cleaned, all else passes."""
