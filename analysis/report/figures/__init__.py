"""What the report draws, a file a kind of figure."""
