"""The use cases: what each command does, over the core and the edges."""
