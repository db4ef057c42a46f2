"""`adakron doctor`: checks an installation without changing it and names remedies. Each check is one function."""
