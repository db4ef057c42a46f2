"""`adakron doctor`: looks at a set-up, changes nothing, and says what to fix. Each check is one function."""
