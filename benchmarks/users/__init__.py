"""Gates by user on made annotators: how much they learn from few rows a user."""
