"""Who may, what may be spent, what is held, what happened."""
