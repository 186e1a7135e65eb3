"""Guards of texts: one interface, and the kinds of it.

`guard` has the interface, `passage_judge` puts guards to the lines of a picture, and `thresholds`
fits how low is unsafe. Kinds: `concepts` (the encoder's text tower), `builtin` (a small classifier
that ships), `classifier` (a transformers model), `endpoint` (a moderation service), `function`.
"""
