"""What the engine computes with: kernels, whole forwards, training."""
