"""All chosen methods on identical inputs, in one table: see `salt_ext.compare`."""
