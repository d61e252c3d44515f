"""A virtual machine in which systemd really runs: `make vmtest`."""
