"""Spec and machines and matrix in, plan out; no I/O."""
