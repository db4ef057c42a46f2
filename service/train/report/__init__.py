"""The report at the end of a training: report.html with its charts, and figures on the terminal."""
