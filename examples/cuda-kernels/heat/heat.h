#pragma once

// One step of heat along a rod of n points, from `now` to `next`, both on the GPU.
// Return what CUDA says, and the heat of the whole rod, by cuBLAS, in `total`.
int step(int n, const float *now, float *next, float *total);
