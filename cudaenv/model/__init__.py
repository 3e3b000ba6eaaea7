"""Values: frozen, without I/O; the words every other part speaks in."""
