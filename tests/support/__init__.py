"""What tests and benches share: worker processes, journals, applications, temporary brokers."""
