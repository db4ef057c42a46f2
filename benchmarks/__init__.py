"""What each documented claim is measured with; README.md says which measures what."""
