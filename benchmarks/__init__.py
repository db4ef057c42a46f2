"""The measurements behind the documented claims; README.md lists them."""
