"""The study's scores in, what may be said of them out: dataclasses, nothing drawn or written."""
