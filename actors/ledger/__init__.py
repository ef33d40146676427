"""The account: every print that came in is in a bar, a reject or a quarantine, and the ledger shows it."""
