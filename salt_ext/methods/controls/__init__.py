"""Controls: rows that know nothing of their token."""
