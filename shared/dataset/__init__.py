"""The data set on disk, a BIDS one: making, publishing, reading, withdrawing."""
