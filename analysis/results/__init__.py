"""The files between the steps of an analysis: columns, paths, reading and writing."""
