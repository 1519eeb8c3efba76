"""Findings in, a page out: its prose, tables and figures."""
