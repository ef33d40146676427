"""One room an actor: the pure fold, and beside it the shell that runs it."""
