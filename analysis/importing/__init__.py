"""Reads other people's recordings and fixations into a data set; imports only `beholder.shared`."""
