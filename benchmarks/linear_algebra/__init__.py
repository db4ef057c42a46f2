"""Which library computes the backbone's dense layers and its attention fastest, on the CPU."""
