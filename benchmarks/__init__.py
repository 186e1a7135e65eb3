"""Programs that measure what is shipped and print the figures which the documents quote."""
