"""The forward pass on a GPU: batch tables, CUDA graphs and Triton kernels."""
