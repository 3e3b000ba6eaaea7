"""A CUDA extension of torch; CUDA_HOME and TORCH_CUDA_ARCH_LIST come from the environment."""

from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension

setup(
    packages=["ramp"],
    ext_modules=[CUDAExtension("ramp._kernels", ["ramp/ramp.cpp", "ramp/kernels.cu"])],
    cmdclass={"build_ext": BuildExtension},
)
