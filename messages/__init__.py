"""The vocabulary of Tickloom: what actors say to one another, and nothing that acts."""
