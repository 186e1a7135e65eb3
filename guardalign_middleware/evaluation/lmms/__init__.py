"""The arms as a model of lmms-eval, for the utility suites; lmms-eval itself is no dependency.

lmms-eval finds `manifest` by the entry point of the distribution, and nothing else imports it.
"""
