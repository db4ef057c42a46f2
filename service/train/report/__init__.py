"""What a training shows at its end: report.html with its charts, and figures on the terminal."""
