"""The pictures of a study: files, tables, label maps and regions."""
