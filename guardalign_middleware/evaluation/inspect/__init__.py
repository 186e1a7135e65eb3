"""The arms as models of Inspect, and the suites as its tasks (extra `eval`).

Inspect finds `registry` by the entry point of the distribution; nothing else imports it. `logs`
reads what came of it, and needs Inspect only then.
"""
