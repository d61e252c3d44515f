"""The scrubbing kernel of Art32: one shared library, which `agent.logs.scrub.kernel` opens."""
