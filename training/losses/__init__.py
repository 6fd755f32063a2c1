"""One loss a file, each a pure function of tensors with its paper."""
