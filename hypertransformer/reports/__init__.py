"""What runs have written, as pages and pictures for people: read, grouped, drawn, laid out."""
