"""Programs that measure the shipped models and code; the documents quote their figures."""
