"""What benchmarks share: trials, cases, figures, tables and the registry."""
