"""Training data: files and Hub data sets, columns, labels, duplicates and the held-out rows."""
