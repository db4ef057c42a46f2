"""Adapters on the Hugging Face Hub: one repository for each, with a model card."""
