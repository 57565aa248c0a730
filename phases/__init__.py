"""What is to be done: workflows, tickets, tasks, gates and the board."""
