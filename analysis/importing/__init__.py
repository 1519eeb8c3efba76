"""Other people's files in, a data set out: imports only what is shared."""
