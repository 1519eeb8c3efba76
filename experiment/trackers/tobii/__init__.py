"""Tobii's trackers, through either of the two packages that speak to them."""
