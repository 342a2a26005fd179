"""What is on disk: datasets found, read, named and inspected."""
