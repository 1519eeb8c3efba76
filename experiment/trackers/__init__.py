"""One file or folder for each tracker; a vendor's package is imported only there."""
