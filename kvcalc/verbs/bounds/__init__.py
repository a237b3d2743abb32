"""What decoding and reading a prompt take at least: bounds by bytes, operations and rates."""
