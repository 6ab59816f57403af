"""The kernels of the CUDA statistics, in Triton: one subject a module, launched by `_cuda`."""
