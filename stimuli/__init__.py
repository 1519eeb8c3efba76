"""The twenty bundled objects, and the programs that render them; a study needs only the pictures."""
