"""Many adapters on one backbone: the bank of their weights, inference, and the dry run of an upload."""
