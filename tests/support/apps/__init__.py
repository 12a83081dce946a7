"""Applications that tests run in workers of their own. `tasks.build` makes one; `main` is the one for `-A`."""
