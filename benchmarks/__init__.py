"""What each claim of the README is measured with."""
