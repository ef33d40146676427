"""The clock actor: time enters as beats, and only here."""
