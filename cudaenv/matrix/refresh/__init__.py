"""Rows measured from artefacts: what to read, and what it says. Fetching is the caller's."""
