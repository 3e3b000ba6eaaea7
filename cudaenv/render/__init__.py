"""Plan in, texts of files out; no I/O."""
