"""Attention over the paged cache by Triton kernels, and whole decode batches as CUDA graphs."""
