// y = a * x + y with the runtime of CUDA alone.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <cuda_runtime.h>

#define CHECK(call)                                                            \
  do {                                                                         \
    cudaError_t status = (call);                                               \
    if (status != cudaSuccess) {                                               \
      std::fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(status));     \
      std::exit(1);                                                            \
    }                                                                          \
  } while (0)

__global__ void saxpy(int n, float a, const float *x, float *y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}

int main() {
  const int n = 1 << 20;
  std::vector<float> x(n, 1.0f), y(n, 2.0f);
  float *there_x, *there_y;
  CHECK(cudaMalloc(&there_x, n * sizeof(float)));
  CHECK(cudaMalloc(&there_y, n * sizeof(float)));
  CHECK(cudaMemcpy(there_x, x.data(), n * sizeof(float), cudaMemcpyHostToDevice));
  CHECK(cudaMemcpy(there_y, y.data(), n * sizeof(float), cudaMemcpyHostToDevice));
  saxpy<<<(n + 255) / 256, 256>>>(n, 3.0f, there_x, there_y);
  CHECK(cudaGetLastError());
  CHECK(cudaMemcpy(y.data(), there_y, n * sizeof(float), cudaMemcpyDeviceToHost));
  for (float value : y) {
    if (value != 5.0f) {
      std::fprintf(stderr, "expected 5, got %f\n", value);
      return 1;
    }
  }
  std::printf("saxpy of %d numbers is right\n", n);
  CHECK(cudaFree(there_x));
  CHECK(cudaFree(there_y));
}
