"""Readers: a file or a data set of the Hub -> Table, before any value is checked."""
