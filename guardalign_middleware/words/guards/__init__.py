"""Guards of texts: one interface, and the kinds of it.

`guard` has the interface, `passage_judge` puts guards to the lines of a picture, and `thresholds`
fits how low is unsafe. Kinds: `builtin` (small classifiers that ship), `endpoint` (a moderation
service), `function`.
"""
