"""Files and data sets of the Hub -> Table: the records as they stand there, before anything of them is checked."""
