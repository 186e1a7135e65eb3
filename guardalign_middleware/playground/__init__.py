"""The playground: a page on which one can look at what the guard sees, and turn its knobs.

The modules `settings`, `inspection`, `answers`, `attention`, `layers`, `session` and `tour` need no
browser and no NiceGUI; `mount` and `page` need the extra `playground`.
"""
