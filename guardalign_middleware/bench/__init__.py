"""`guardalign bench`: what the guard costs on the reader's own machine, in ratios that hold."""
