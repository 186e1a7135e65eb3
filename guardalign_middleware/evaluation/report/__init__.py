"""`guardalign report`: one page about an experiment, beside the paper's figures."""

from guardalign_middleware.evaluation.report.contents import report_of
from guardalign_middleware.evaluation.report.render import to_html, to_markdown

__all__ = ["report_of", "to_html", "to_markdown"]
