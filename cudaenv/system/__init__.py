"""The edges: this machine, processes, the network, files."""
