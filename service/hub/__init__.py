"""The Hugging Face Hub as a place for adapters: one adapter a repository, with a model card."""
