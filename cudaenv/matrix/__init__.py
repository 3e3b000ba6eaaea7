"""The compatibility tables: typed rows, invariants, look-ups."""
