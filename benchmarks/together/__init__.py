"""Several tasks trained together, with and without gates, beside each task alone."""
