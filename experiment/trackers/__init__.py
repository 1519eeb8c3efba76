"""One file a tracker; a vendor's package is imported only inside its own file."""
