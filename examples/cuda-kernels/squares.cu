// The sum of squares with Thrust, whose headers are CCCL's.
#include <cstdio>

#include <thrust/device_vector.h>
#include <thrust/sequence.h>
#include <thrust/transform_reduce.h>

struct Square {
  __host__ __device__ long long operator()(long long x) const { return x * x; }
};

int main() {
  const long long n = 1000;
  try {
    thrust::device_vector<long long> numbers(n);
    thrust::sequence(numbers.begin(), numbers.end(), 1LL);
    long long sum =
        thrust::transform_reduce(numbers.begin(), numbers.end(), Square(), 0LL, thrust::plus<long long>());
    std::printf("1 + 4 + ... + %lld = %lld\n", n * n, sum);
    return sum == n * (n + 1) * (2 * n + 1) / 6 ? 0 : 1;
  } catch (const std::exception &error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
