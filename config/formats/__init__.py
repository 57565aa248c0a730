"""How Lemnos writes figures and times."""
