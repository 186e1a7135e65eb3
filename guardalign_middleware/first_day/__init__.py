"""From an installation to a fitted guard on real models: what is missing, and what is next.

`doctor` looks at an environment, `downloads` at what a preset fetches; the others do the steps of
`guardalign init`.
"""
