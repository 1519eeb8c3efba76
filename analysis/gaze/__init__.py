"""Recordings in, fixations and human maps out."""
