"""Checkpoints: the states of the folds, beside the log, so that a start need not fold all of it again."""
