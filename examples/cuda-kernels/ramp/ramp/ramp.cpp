#include <torch/extension.h>

void launch_ramp(torch::Tensor values, double step);

torch::Tensor ramp(int64_t n, double step) {
  TORCH_CHECK(n >= 0, "expected a number of values, got ", n);
  torch::Tensor values = torch::empty({n}, torch::dtype(torch::kFloat).device(torch::kCUDA));
  launch_ramp(values, step);
  return values;
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("ramp", &ramp, "0, step, 2 * step ... on the current GPU", py::arg("n"), py::arg("step") = 1.0);
}
