"""Pictures in, attention maps out."""
