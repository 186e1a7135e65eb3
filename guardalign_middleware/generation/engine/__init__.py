"""The machinery below the runner: loading, the request queue, batches, decoding."""
