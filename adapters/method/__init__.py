"""The method: adapters, heads, and a backbone with both that can be trained."""
