"""The whole program as a process, against indexes on the loopback interface."""
