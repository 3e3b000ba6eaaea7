"""Plan in, lockfiles out, and whether they still agree."""
