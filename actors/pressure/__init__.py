"""What the machine and the mailboxes are under, and what gives way: real readings, one pure controller, one actor."""
