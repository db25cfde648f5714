"""The tables: exactly-once commit, look-up, ledger, quarantine and the objects they are made of."""
