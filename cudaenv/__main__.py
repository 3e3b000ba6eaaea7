"""`python -m cudaenv` is the `cudaenv` command."""

from cudaenv.cli.main import main

main()
