"""PostgreSQL, Valkey and the supervised processes of the local stack."""
