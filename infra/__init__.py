"""Art32's Pulumi program. Nothing is built here yet."""
