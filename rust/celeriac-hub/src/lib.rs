//! The hub: the loop in the worker's main process that moves bytes and wakes the pool.
