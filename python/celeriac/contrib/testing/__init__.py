"""For tests of applications: a worker in a thread, an app of a test's own."""
