"""Arrays of scores in, intervals and tests out: no table, no disk, no model."""
