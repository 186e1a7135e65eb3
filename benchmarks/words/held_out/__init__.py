"""Screenshots for the report alone: wordings and designs that no rule was written with in view."""
