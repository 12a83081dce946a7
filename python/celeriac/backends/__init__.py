"""Result backends: where states and results of tasks are kept."""
