"""The report's prose, one file for each part of the page."""
