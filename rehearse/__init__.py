"""The worst case, rehearsed: a PostgreSQL server under load is destroyed and built again from the
store, by art32 and by stock tools, with what was lost and how long it took. See `make rehearse`."""
