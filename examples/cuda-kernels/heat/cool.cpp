#include "heat.h"

#include <cmath>
#include <cstdio>
#include <utility>
#include <vector>

#include <cuda_runtime.h>

int failed(int status) {
  std::fprintf(stderr, "%s\n", cudaGetErrorString(static_cast<cudaError_t>(status)));
  return 1;
}

int main() {
  const int n = 1000;
  std::vector<float> rod(n, 0.0f);
  rod[n / 2] = 100.0f;
  float *now, *next, total = 0.0f;
  if (int status = cudaMalloc(&now, n * sizeof(float))) return failed(status);
  if (int status = cudaMalloc(&next, n * sizeof(float))) return failed(status);
  if (int status = cudaMemcpy(now, rod.data(), n * sizeof(float), cudaMemcpyHostToDevice)) return failed(status);
  for (int i = 0; i < 100; ++i) {
    if (int status = step(n, now, next, &total)) return failed(status);
    std::swap(now, next);
  }
  std::printf("after 100 steps the rod holds %.2f of 100\n", total);
  return std::fabs(total - 100.0f) < 0.01f ? 0 : 1;
}
