//! Pure state of a worker.
