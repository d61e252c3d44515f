"""Once per account and region, before any stack: state, packages, and what exists only once."""
