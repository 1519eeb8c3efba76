"""What the report says in words, a file a heading of the page."""
