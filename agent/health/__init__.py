"""Health: what is true of this host now, one file a check, each with a hint and a runbook."""
