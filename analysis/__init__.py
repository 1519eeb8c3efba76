"""Afterwards: from recordings and pictures to the report. Never imports `experiment`."""
