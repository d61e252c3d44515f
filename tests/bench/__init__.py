"""`make bench`: Art32 beside a bare pipeline and other backup programs, on the same data."""
