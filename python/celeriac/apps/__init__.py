"""Programs: what surrounds a worker or a scheduler when it is a process of its own."""
