#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAException.h>
#include <torch/types.h>

__global__ void fill(int64_t n, float step, float *values) {
  int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  if (i < n) values[i] = step * static_cast<float>(i);
}

void launch_ramp(torch::Tensor values, double step) {
  int64_t n = values.numel();
  if (n == 0) return;
  fill<<<(n + 255) / 256, 256, 0, at::cuda::getCurrentCUDAStream()>>>(n, step, values.data_ptr<float>());
  C10_CUDA_KERNEL_LAUNCH_CHECK();
}
