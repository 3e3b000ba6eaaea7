"""What the tests lean on: wheels built in memory and package indexes that can misbehave."""
